"""The trainer has the house's plugins, and says nothing that is not about this run."""

from datetime import timedelta

import pytest
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.strategies import DDPStrategy

from omniformer.training.checkpoint_io import DurableCheckpointIO
from omniformer.training.checkpoints import RecentCheckpoint
from omniformer.training.stop import Stop
from omniformer.training.trainer import build_trainer


def build(tmp_path, callbacks=None, **options):
    options = {"accelerator": "cpu", "devices": 1} | options
    return build_trainer(options, callbacks=callbacks or {}, loggers={}, output_dir=str(tmp_path))


def test_checkpoints_go_through_the_durable_plugin(tmp_path):
    trainer = build(tmp_path)
    assert isinstance(trainer.strategy.checkpoint_io, DurableCheckpointIO)
    assert not trainer._accelerator_connector.use_distributed_sampler


def test_several_devices_get_ddp_that_gives_up_on_dead_ranks(tmp_path, monkeypatch):
    monkeypatch.setenv("NODE_RANK", "0")  # of several nodes, which this is
    for options in ({"devices": 2}, {"devices": 1, "strategy": "ddp"}, {"devices": 1, "num_nodes": 2}):
        strategy = build(tmp_path, **options).strategy
        assert isinstance(strategy, DDPStrategy)
        assert strategy._timeout == timedelta(seconds=600)
    assert not isinstance(build(tmp_path).strategy, DDPStrategy)


def test_slurm_requeues_through_our_own_callback(tmp_path, monkeypatch):
    for name, value in {"NTASKS": 1, "JOB_ID": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setattr(SLURMEnvironment, "detect", staticmethod(lambda: True))
    environment = build(tmp_path)._accelerator_connector.cluster_environment
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue


def test_torchrun_within_a_job_of_slurm_says_who_a_process_is(tmp_path, monkeypatch):
    monkeypatch.setattr(SLURMEnvironment, "detect", staticmethod(lambda: True))
    monkeypatch.setattr(TorchElasticEnvironment, "detect", staticmethod(lambda: True))
    given = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "GROUP_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    for name, value in (given | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29500}).items():
        monkeypatch.setenv(name, str(value))
    environment = build(tmp_path)._accelerator_connector.cluster_environment
    assert isinstance(environment, TorchElasticEnvironment)


def test_checkpoint_callback_that_watches_a_metric_comes_first(tmp_path):
    callbacks = {
        "stop": Stop(dirpath="x"),
        "recent": RecentCheckpoint(dirpath="x"),
        "off": None,
        "best": ModelCheckpoint(dirpath="x", monitor="val/loss"),
    }
    trainer = build(tmp_path, callbacks)
    assert trainer.checkpoint_callback is callbacks["best"]
    del callbacks["best"]
    assert build(tmp_path, callbacks).checkpoint_callback.monitor is None


def test_without_checkpoint_callbacks_nothing_is_saved(tmp_path):
    assert build(tmp_path).checkpoint_callbacks == []


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".last.ckpt.writing").write_bytes(b"half")
    build(tmp_path)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_described_parts_are_built(tmp_path):
    profiler = {"_target_": "lightning.pytorch.profilers.SimpleProfiler", "filename": "profile"}
    assert isinstance(build(tmp_path, profiler=profiler).profiler, SimpleProfiler)


def test_options_that_have_a_group_of_their_own_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"trainer\.logger cannot be set here"):
        build(tmp_path, logger=True)


def test_devices_that_are_not_there_are_told_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.accelerators.CUDAAccelerator.is_available", lambda: False)
    monkeypatch.setattr("lightning.pytorch.accelerators.MPSAccelerator.is_available", lambda: False)
    options = {"accelerator": "gpu", "devices": 2}
    with pytest.raises(ValueError, match=r"trainer\.accelerator=gpu, trainer\.devices=2: No supported gpu"):
        build_trainer(options, callbacks={}, loggers={}, output_dir=str(tmp_path))
