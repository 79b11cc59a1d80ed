"""The model folder of a run that was stopped, from its checkpoint."""

import shutil

import pytest
import torch
from tiny_runs import run, state

from omniformer.command import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    small = ["modality=vision", "core.n_layers=1", "core.d_model=16", "core.n_heads=2"]
    return run(tmp_path_factory.mktemp("runs"), *small)


def test_a_run_without_model_gets_the_one_that_it_would_have_ended_with(finished, capsys):
    kept = state(finished)
    shutil.rmtree(finished / "model")
    main(["consolidate", str(finished)])
    torch.testing.assert_close(state(finished), kept, rtol=0, atol=0)
    assert f"{finished}/model holds the weights of {finished / 'checkpoints' / 'best.ckpt'}" in capsys.readouterr().out


def test_another_checkpoint_can_be_named(finished, capsys):
    (newest,) = (finished / "checkpoints").glob("step-*.ckpt")
    main(["consolidate", str(finished), "--checkpoint", str(newest)])
    wanted = torch.load(newest, weights_only=True)["state_dict"]
    found = state(finished)
    assert all(torch.equal(wanted[f"model.{name}"], each) for name, each in found.items())


def test_a_folder_without_a_run_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["consolidate", str(tmp_path)])
    assert "is not a run folder" in capsys.readouterr().err
