"""Processes that would never find each other are told so, in one sentence, before anybody waits."""

import socket
import subprocess
import sys

import pytest
import torch

from omniformer.parallel import setup
from omniformer.parallel.setup import check_described, check_heads, check_processes, n_devices
from omniformer.parallel.strategy import FSDP, ContextParallel, TensorParallel

WHOLE = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in (*WHOLE, "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE", "SLURM_NTASKS", "LSB_JOBID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def port():
    """A port on which another program listens."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        yield str(taken.getsockname()[1])


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return str(probe.getsockname()[1])


def started(monkeypatch, **changed: str) -> None:
    for name, value in {**WHOLE, "MASTER_PORT": free_port(), **changed}.items():
        monkeypatch.setenv(name, value)


def test_a_model_is_not_divided_by_one_process():
    with pytest.raises(ValueError, match=r"FSDP divides a model between processes, and trainer.devices=1 asks for one"):
        check_processes({"strategy": FSDP()}, n_devices=1)


def test_processes_that_compute_together_go_up_in_all_processes_and_in_the_heads():
    with pytest.raises(ValueError, match=r"trainer.strategy.size=2 does not divide the 3 processes"):
        check_processes({"strategy": TensorParallel(size=2)}, n_devices=3)
    with pytest.raises(ValueError, match=r"TensorParallel divides a model between processes"):
        check_processes({"strategy": TensorParallel(size=2)}, n_devices=1)
    with pytest.raises(ValueError, match=r"size=2 does not divide core.encoder.n_kv_heads=1; choose a number"):
        check_heads(TensorParallel(size=2), {"n_heads": 4, "encoder": {"n_heads": 4, "n_kv_heads": 1}})
    check_processes({"strategy": TensorParallel(size=2)}, n_devices=4)
    check_heads(TensorParallel(size=2), {"n_heads": 4, "n_kv_heads": None})
    check_heads(FSDP(), {"n_heads": 3})


def test_processes_that_divide_tokens_go_up_in_all_processes_and_divide_no_heads():
    with pytest.raises(ValueError, match=r"ContextParallel divides a model between processes, and trainer.devices=1"):
        check_processes({"strategy": ContextParallel(size=2)}, n_devices=1)
    with pytest.raises(ValueError, match=r"trainer.strategy.size=2 does not divide the 3 processes"):
        check_processes({"strategy": ContextParallel(size=2)}, n_devices=3)
    with pytest.raises(ValueError, match="size=0 must be at least 1"):
        ContextParallel(size=0)
    check_heads(ContextParallel(size=2), {"n_heads": 3})


def test_half_precision_with_scaled_losses_is_refused():
    with pytest.raises(ValueError, match=r"trainer.precision=16-mixed: FSDP scales no losses"):
        check_processes({"strategy": FSDP(), "precision": "16-mixed"}, n_devices=2)


def test_weights_are_gathered_in_half_precision_only_where_it_is_computed_with():
    with pytest.raises(
        ValueError, match=r"param_dtype=bfloat16 needs trainer.precision=bf16-mixed, .* received 32-true"
    ):
        check_processes({"strategy": FSDP(param_dtype="bfloat16"), "precision": "32-true"}, n_devices=2)
    check_processes({"strategy": FSDP(param_dtype="bfloat16"), "precision": "bf16-mixed"}, n_devices=2)


def test_variables_that_are_missing_are_named(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"RANK, WORLD_SIZE are set and LOCAL_RANK, MASTER_ADDR, MASTER_PORT are not"):
        check_processes({}, n_devices=2)


def test_another_number_of_processes_than_devices_is_told(monkeypatch):
    started(monkeypatch)
    with pytest.raises(ValueError, match=r"WORLD_SIZE=2 processes were started, .* ask for 4"):
        check_processes({}, n_devices=4)
    check_processes({}, n_devices=2)


def test_several_nodes_need_something_that_starts_them(monkeypatch):
    with pytest.raises(ValueError, match=r"trainer.num_nodes=2 and nothing says which node this is"):
        check_processes({"num_nodes": 2}, n_devices=4)
    monkeypatch.setenv("KUBERNETES_PORT", "tcp://10.0.0.1:443")  # every pod has it, whoever started its processes
    with pytest.raises(ValueError, match=r"nothing says which node this is"):
        check_processes({"num_nodes": 2}, n_devices=4)
    monkeypatch.setenv("SLURM_NTASKS", "4")
    check_processes({"num_nodes": 2}, n_devices=4)


def test_a_port_that_is_taken_is_told_by_the_process_that_all_others_ask(monkeypatch, port):
    started(monkeypatch, MASTER_PORT=port)
    with pytest.raises(ValueError, match=f"MASTER_PORT={port}: the processes of the run cannot meet there"):
        check_processes({}, n_devices=2)
    monkeypatch.setenv("RANK", "1")
    check_processes({}, n_devices=2)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    check_processes({}, n_devices=2)


def test_one_process_needs_nothing(monkeypatch, port):
    check_processes({}, n_devices=1)
    monkeypatch.setenv("MASTER_PORT", port)  # for another program
    check_processes({}, n_devices=1)


def described(kind: str, **more) -> dict:
    return {"strategy": {"_target_": f"omniformer.parallel.strategy.{kind}", "param_dtype": None, **more}, "devices": 2}


@pytest.mark.parametrize(
    ("trainer", "told"),
    [
        (described("FSDP") | {"devices": 1}, "FSDP divides a model between processes, and trainer.devices=1 asks"),
        (described("TensorParallel", size=2) | {"devices": 3}, "size=2 does not divide the 3 processes"),
        (described("TensorParallel", size=2), "trainer.strategy.size=2 does not divide core.n_heads=3"),
        (described("FSDP", param_dtype="bfloat16"), "needs trainer.precision=bf16-mixed"),
        (described("FSDP") | {"precision": "16-mixed"}, "FSDP scales no losses"),
        (described("FSDP") | {"compile": "whole"}, "compile=whole: FSDP gathers the weights of each block between two"),
    ],
)
def test_a_configuration_is_refused_as_what_is_built_of_it(trainer, told):
    with pytest.raises(ValueError, match=told):
        check_described(trainer, {"n_heads": 3})


def test_parts_that_cannot_be_divided_are_refused_as_they_are_described():
    with pytest.raises(
        ValueError, match="trainer=context divides the blocks of a Transformer, and core is a Recurrent"
    ):
        check_described(
            described("ContextParallel", size=2), {"_target_": "omniformer.core.variants.recurrent.Recurrent"}
        )


def test_a_configuration_that_can_run_is_not_refused():
    check_described(described("FSDP") | {"compile": "blocks"}, {"n_heads": 4})
    check_described(described("TensorParallel", size=2), {"n_heads": 4})
    check_described(described("ContextParallel", size=2), {"n_heads": 3})
    check_described({"strategy": {"_target_": "lightning.pytorch.strategies.DDPStrategy"}, "devices": 2}, None)
    assert n_devices({"devices": "0,1", "num_nodes": 2}) == n_devices({"devices": [0, 1, 2, 3]}) == 4


def test_an_accelerator_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"trainer.accelerator=gpu: torch sees no GPU on this machine; choose"):
        check_described({"accelerator": "gpu", "devices": 1}, None)


@pytest.mark.parametrize("shown", ["nvidia0", "kfd", "dri", "dxg", "the driver"])
def test_what_may_be_a_gpu_is_asked_of_torch(shown, monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(setup, "_DEVICES", tmp_path)
    monkeypatch.setattr(setup, "_DRIVER", "libno_such_driver.so.1")
    assert setup._surely_no_gpu()
    if shown == "the driver":
        monkeypatch.setattr(setup, "_DRIVER", None)  # opens what is always there, the program itself
    else:
        (tmp_path / shown).touch()
    assert not setup._surely_no_gpu()


def test_of_a_machine_without_any_the_cpu_is_one_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert n_devices({"devices": "auto"}) == n_devices({"devices": -1, "accelerator": "gpu"}) == 1


def test_mistakes_are_told_before_torch_is_imported():
    code = """
import sys
from omniformer.parallel import setup
setup._DRIVER, setup._FILES, sys.platform = "libno_such_driver.so.1", (), "linux"
for wrong in (
    {"strategy": {"_target_": "omniformer.parallel.strategy.FSDP"}, "devices": 1},
    {"strategy": {"_target_": "omniformer.parallel.strategy.FSDP"}, "devices": "auto"},
    {"accelerator": "gpu", "devices": 1},
):
    try:
        setup.check_described(wrong, None)
    except ValueError:
        print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n" * 3
