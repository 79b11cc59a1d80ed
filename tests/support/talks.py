"""Conversations about pictures, which the tests of several families hold."""

import json
from pathlib import Path

from PIL import Image

import omniformer
from omniformer import pretrained
from omniformer.generation import Greedy
from omniformer.train import main as train


def drawn(path, turned=0, size=(20, 14)):
    """A picture in a file, of this width and height."""
    Image.linear_gradient("L").rotate(turned).resize(size).convert("RGB").save(path)
    return str(path)


def talk_about(*pictures):
    """A conversation with pictures in two of its turns."""
    first, *rest = [{"type": "image", "path": each} for each in pictures]
    return [
        {"role": "user", "content": [first, {"type": "text", "text": "the cat"}]},
        {"role": "assistant", "content": "a dog"},
        {"role": "user", "content": [*rest, {"type": "text", "text": "is it brown?"}]},
    ]


def rows_of(folder, sizes):
    """A table of conversations about pictures of these sizes; every second one has two."""
    rows = []
    for i in range(6):
        name = Path(drawn(folder / f"{i}.png", 90 * i, sizes[i % len(sizes)])).name
        pictures = [{"type": "image", "path": name}, *([{"type": "image", "image": "0.png"}] if i % 2 else [])]
        asked = {"role": "user", "content": [*pictures, {"type": "text", "text": "the cat"}]}
        rows.append({"talk": [asked, {"role": "assistant", "content": "a dog"}]})
    (folder / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "talks.jsonl"


def learns_by_lora(folder, sizes):
    """The model in `folder / "model"` learns from such rows by one command; as a published model, it is then in
    `folder / "back"`."""
    rows_of(folder, sizes)
    options = [
        "modality=text", "data=table", f"data.source.files={folder}/talks.jsonl",
        "data.source.columns={talk: messages}", f"model.pretrained={folder}/model", "optim.lr=0.02",
        "model.lora={rank: 4, targets: [query, value]}", "optim.warmup_steps=1", "trainer.max_epochs=8",
        "data.batch_size=2", f"hydra.run.dir={folder}/run",
    ]  # fmt: skip
    train(options)
    rows = [line.split(",") for line in (folder / "run/metrics.csv").read_text().splitlines()]
    losses = [float(value) for *_, name, value in rows if name == "val/loss"]
    assert losses[-1] < losses[0] - 0.1
    run, talk = omniformer.load(folder / "run"), talk_about(str(folder / "0.png"), str(folder / "1.png"))
    said = run.chat(talk, strategy=Greedy(), max_new_tokens=4).ids
    run.save_pretrained(folder / "back")
    assert pretrained.load(folder / "back").chat(talk, strategy=Greedy(), max_new_tokens=4).ids == said
