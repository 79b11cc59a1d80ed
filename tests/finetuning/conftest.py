"""Published models in little, data for them, and a run that goes on with one."""

import json
from pathlib import Path

import pytest
from tiny_published import bert, gpt2
from tiny_runs import LM, run


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    return gpt2(tmp_path_factory.mktemp("gpt2") / "it")


@pytest.fixture(scope="session")
def labelled(tmp_path_factory) -> list[str]:
    """Arguments for a set of texts with two classes."""
    path = tmp_path_factory.mktemp("data") / "labelled.jsonl"
    rows = [{"text": f"the {animal} number {i}", "label": animal} for i in range(30) for animal in ("cat", "dog")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        "modality=text",
        "data=labelled_text_files",
        "task=classification",
        f"data.source.train={path}",
        "callbacks.best.monitor=val/loss",
    ]


@pytest.fixture(scope="session")
def language(published, tmp_path_factory) -> Path:
    """A run that goes on with the published language model."""
    return run(tmp_path_factory.mktemp("language"), *LM, f"model.pretrained={published}")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> Path:
    return bert(tmp_path_factory.mktemp("bert") / "it", max_position_embeddings=16)
