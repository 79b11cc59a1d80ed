from importlib import import_module

import pytest
import torch

from omniformer import device
from omniformer.device import chosen


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine that says it has two."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_a_gpu_is_taken_where_there_is_one_and_told(two_gpus, capsys):
    assert chosen("auto") == torch.device("cuda")
    assert capsys.readouterr().err == "device: cuda (--device cpu takes the CPU)\n"


def test_apples_gpu_is_taken_where_there_is_no_other(no_gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert chosen("auto") == torch.device("mps")
    assert "device: mps" in capsys.readouterr().err


def test_the_cpu_is_taken_without_a_word_where_there_is_nothing_else(no_gpu, capsys):
    assert chosen("auto") == torch.device("cpu")
    assert capsys.readouterr().err == ""


def test_freed_memory_is_kept_where_the_cpu_computes(two_gpus, monkeypatch):
    calls = []
    monkeypatch.setattr(device, "keep_memory", lambda: calls.append(True))
    chosen("cuda")
    assert not calls
    chosen("cpu")
    assert calls == [True]


def test_a_named_device_is_taken(two_gpus):
    assert chosen("cpu") == torch.device("cpu")
    assert chosen("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "xpu"])
def test_a_device_that_is_not_there_is_told(no_gpu, name):
    with pytest.raises(ValueError, match=f"--device {name}: this machine has none; give another, or auto"):
        chosen(name)


def test_a_number_too_high_names_those_that_are_there(two_gpus):
    with pytest.raises(ValueError, match="--device cuda:2: this machine has 2: cuda:0, cuda:1; give another"):
        chosen("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:one", "tpu"])
def test_what_is_no_device_is_told(name):
    with pytest.raises(ValueError, match=f"--device {name}: torch knows no such device; accepted: auto, cpu, cuda"):
        chosen(name)


@pytest.mark.parametrize(
    ("verb", "arguments"), [("evaluate", ["run"]), ("predict", ["run", "x"]), ("generate", ["run"])]
)
def test_every_command_asks_for_the_device_before_it_reads_anything(verb, arguments, no_gpu, capsys):
    with pytest.raises(SystemExit) as stop:
        import_module(f"omniformer.{verb}").main([*arguments, "--device", "cuda"])
    assert stop.value.code == 1
    assert "error: --device cuda: this machine has none;" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["evaluate", "predict", "generate"])
def test_every_command_takes_a_gpu_unless_told_otherwise(verb):
    parser = import_module(f"omniformer.{verb}").build_parser()
    given = ["run", "x"] if verb == "predict" else ["run"]
    assert parser.parse_args(given).device == "auto"
