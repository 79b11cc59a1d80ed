"""Every Python block of the README runs, in order, in one session."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_blocks_of_the_readme_run(tmp_path, monkeypatch, image_bytes, audio_bytes):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(image_bytes("JPEG", 200, 300))
    (tmp_path / "speech.wav").write_bytes(audio_bytes("WAV"))
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("the cat and the dog\n" * 40)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
