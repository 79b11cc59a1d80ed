"""Tasks that ask for it are calibrated on validation, by the weights that are tested and saved."""

import json

import torch
from tiny_runs import numbers, run, state

WORDS = ("cat", "dog", "neither")


def test_the_best_weights_are_saved_with_the_offset_that_validation_chose(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("omniformer.tasks.calibrating.rank_zero_info", said.append)
    path = tmp_path / "rows.jsonl"
    rows = [{"text": f"a {word} number {i}", "label": word} for i in range(30) for word in WORDS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = run(
        tmp_path / "runs",
        *("modality=text", "data=labelled_text_files", "task=open_set", "task.out_of_scope=neither"),
        *(f"data.source.train={path}", "optim.lr=1e-3"),
    )
    assert len(said) == 1 and said[0].startswith("text: the offset of 'neither' is changed by")
    saved, best = state(output), torch.load(output / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    changed = {name for name, each in saved.items() if not torch.equal(each, best[f"model.{name}"])}
    assert changed == {"heads.text.classes.bias"}
    shift = saved["heads.text.classes.bias"] - best["model.heads.text.classes.bias"]
    assert shift[:2].tolist() == [0.0, 0.0]
    lines = [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]
    right = [line["prediction"] == line["target"] for line in lines if line["split"] == "val"]
    assert sum(right) / len(right) >= numbers(output)["best/val/accuracy"]
