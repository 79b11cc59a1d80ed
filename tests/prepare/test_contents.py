"""What samples hold: sizes, rates, lengths; and what cannot be opened, by name."""

import soundfile
import torch
from omniformer_tokenizers import ByteTokenizer
from PIL import Image

from omniformer.data.source import Raw
from omniformer.prepare.contents import SPOKEN, opened, tokenized


def test_pictures_sounds_and_texts_are_measured(tmp_path):
    Image.new("L", (6, 4)).save(tmp_path / "grey.png")
    Image.new("RGB", (8, 4), (9, 0, 0)).save(tmp_path / "red.png")
    soundfile.write(tmp_path / "a.wav", torch.zeros(800).numpy(), 8000)
    raws = [
        Raw(id="a", contents={"vision": tmp_path / "grey.png", "text": "abc", "audio": tmp_path / "a.wav"}),
        Raw(id="b", contents={"vision": tmp_path / "red.png", "series": torch.zeros(2, 5)}, answer={"text": "abcde"}),
    ]
    found = {name: each.told() for name, each in opened(raws).items()}
    assert found == {
        "vision": {"looked_at": 2, "height": [4, 4, 4], "width": [6, 7, 8], "colours": {"1": 1, "3": 1}},
        "text": {"looked_at": 2, "characters": [3, 4, 5]},
        "audio": {"looked_at": 1, "rate": {"8000": 1}, "seconds": [0.1, 0.1, 0.1]},
        "series": {"looked_at": 1, "variables": [2, 2, 2], "steps": [5, 5, 5]},
    }


def test_what_cannot_be_opened_is_named_once_with_its_cause(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no picture")
    raws = [Raw(id="bad", contents={"vision": tmp_path / "broken.png"}), Raw(id="good", contents={"text": "abc"})]
    found = opened(raws)
    (told,) = found["vision"].unreadable
    assert told.startswith("bad: ") and "broken.png" in told
    assert not found["text"].unreadable


def test_lengths_are_those_of_the_tokenizer():
    raws = [Raw(id=str(i), contents={"text": "x" * i}) for i in (1, 2, 6)]
    found = opened(raws)
    assert tokenized(found, raws, {"text": ByteTokenizer()}) == 3.0
    assert found["text"].told()["tokens"] == [1, 2, 6]


def test_how_fast_is_spoken_what_is_to_be_written_is_a_measure(tmp_path):
    soundfile.write(tmp_path / "a.wav", torch.zeros(4000).numpy(), 8000)
    spoken = Raw(id="a", contents={"audio": tmp_path / "a.wav"}, answer={"text": "one two"})
    beside = Raw(id="b", contents={"audio": tmp_path / "a.wav", "text": "one"})
    assert opened([spoken, beside])["audio"].measures[SPOKEN] == [14.0]
