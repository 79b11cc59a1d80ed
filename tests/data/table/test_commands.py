"""Every kind of table that docs/data.md shows: its first lines, and the command beside them, as they stand there."""

import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile
import torch
from PIL import Image
from tiny_runs import numbers, run

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```text (\S+)\n(.*?)```\n\n    omniformer train (.*?)\n", PAGE, flags=re.DOTALL)
N = 40


def photos(folder):
    (folder / "photos").mkdir()
    for i in range(N):
        Image.new("RGB", (32, 32), (255 * (i % 2), 40, i)).save(folder / "photos" / f"{i}.png")


def sounds(folder):
    (folder / "sounds").mkdir()
    for i in range(N):
        soundfile.write(folder / "sounds" / f"{i}.wav", torch.sin(torch.arange(4000) * (0.1 + i / 99)).numpy(), 8000)


def reviews(folder):
    return ["review,mood", *(f'"a fine film, number {i}",{("good", "bad")[i % 2]}' for i in range(N))]


def pets(folder):
    photos(folder)
    return ["photo,animal", *(f"photos/{i}.png,{('cat', 'dog')[i % 2]}" for i in range(N))]


def captions(folder):
    photos(folder)
    return [json.dumps({"photo": f"photos/{i}.png", "caption": f"a red square, number {i}"}) for i in range(N)]


def recordings(folder):
    sounds(folder)
    return [json.dumps({"recording": f"sounds/{i}.wav", "words": ("one two", "three")[i % 2]}) for i in range(N)]


def solubility(folder):
    return ["smiles,solubility", *(f"{'C' * (i + 1)},{-0.5 - i / 10}" for i in range(N))]


def entities(folder):
    words = (["Ada", "saw", "Bern", str(i)] for i in range(N))
    return [json.dumps({"words": each, "tags": ["PER", "O", "LOC", "O"]}) for each in words]


def questions(folder):
    texts = (f"in row {i} a cat sat" for i in range(N))
    return [json.dumps({"question": "who sat?", "context": text, "answer": "a cat"}) for text in texts]


def parallel(folder):
    return ["en\tde", *(f"a cat and {i} dogs\teine Katze und {i} Hunde" for i in range(N))]


def products(folder):
    photos(folder)
    return [
        "photo,note,kind",
        *(f"photos/{i}.png,{'' if i % 2 else f'number {i} is fine'},{('toy', 'book')[i % 2]}" for i in range(N)),
    ]


MAKERS = {maker.__name__: maker for maker in (reviews, pets, captions, recordings, solubility, entities, questions)}
MAKERS |= {maker.__name__: maker for maker in (parallel, products)}
QUICK = ("reviews.csv", "questions.jsonl", "products.csv")  # the others are the same roads with other vehicles
SMALLER = {"parallel.tsv": ["core.encoder.d_model=48", "core.encoder.n_heads=2", "core.encoder.n_layers=1"]}


def test_the_page_shows_every_kind():
    assert sorted(Path(name).stem for name, _, _ in SHOWN) == sorted(MAKERS)


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("name", "lines", "command"),
    [pytest.param(*each, id=each[0], marks=[] if each[0] in QUICK else pytest.mark.slow) for each in SHOWN],
)
def test_the_command_of_the_page_trains_on_such_a_table(tmp_path, monkeypatch, name, lines, command):
    if "molecules" in command and find_spec("rdkit") is None:
        pytest.skip("needs rdkit")
    monkeypatch.chdir(tmp_path)
    made = MAKERS[Path(name).stem](tmp_path)
    assert made[: len(lines.splitlines())] == lines.splitlines()
    Path(name).write_text("\n".join(made) + "\n", encoding="utf-8")
    small = ["data.batch_size=4", "data.num_workers=0", *SMALLER.get(name, ())]
    output = run(tmp_path / "out", *shlex.split(command), *small)
    found = numbers(output)
    assert found["steps"] == 3 and found["test/loss"] > 0
