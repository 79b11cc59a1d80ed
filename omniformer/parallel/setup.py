"""Whether the processes of a run can find each other, asked before anybody waits for them.

Nothing here imports torch unless devices must be counted: importing takes seconds, and a mistake is told before.
"""

import ctypes
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omniformer.parallel.parts import check_parts, check_stacks

# What processes that compute a block together divide of it.
_SIZES = {"TensorParallel": ("n_heads", "n_kv_heads")}
# What torchrun gives each process that it starts.
_GIVEN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# Without all of these no build of torch finds a GPU under Linux: the driver's library, which torch opens by this name,
# and the files of AMD's, Intel's and the virtual GPUs.
_DRIVER, _DEVICES, _FILES = "libcuda.so.1", Path("/dev"), ("nvidia*", "kfd", "dri", "dxg")


@dataclass(frozen=True, slots=True)
class _Divided:
    """What a strategy that divides a model wants of its processes."""

    name: str
    together: int
    halved: bool
    sizes: tuple[str, ...]  # of a core, which their number must divide


def check_described(trainer: Mapping[str, Any], core: Any) -> None:
    """Refuses the same as `check_processes`, `check_heads`, `check_parts` and `check_stacks`, of a configuration,
    before anything is imported for it.

    Args:
        trainer: its options, with the strategy as it is described.
        core: its description; None where it is not known yet.

    Raises:
        ValueError: as for these; or an accelerator is asked for and there is none.

    Example:
        >>> check_described({"strategy": "auto", "devices": 1}, {"n_heads": 3})
    """
    check_processes(trainer, n_devices=n_devices(trainer))
    check_heads(trainer.get("strategy"), core)
    check_stacks(trainer.get("compile"), core)
    if (divided := _divided(trainer.get("strategy"))) is not None:
        check_parts(divided.name, core)
    if trainer.get("accelerator") in ("gpu", "cuda") and not _has_gpu():
        raise ValueError(
            f"trainer.accelerator={trainer['accelerator']}: torch sees no GPU on this machine; choose "
            "trainer.accelerator=cpu, or look at nvidia-smi and at the build of torch"
        )


def n_devices(options: Mapping[str, Any]) -> int:
    """How many processes the options ask for, of all nodes together.

    Args:
        options: those of the trainer.

    Example:
        >>> n_devices({"devices": 4, "num_nodes": 2})
        8
    """
    devices = options.get("devices", "auto")
    if isinstance(devices, list | tuple):
        n = len(devices)
    elif devices in ("auto", -1, "-1"):
        n = _n_gpus() if options.get("accelerator", "auto") in ("auto", "gpu", "cuda") else 1  # as Lightning, of a CPU
    else:
        n = len(devices.split(",")) if isinstance(devices, str) and "," in devices else int(devices)
    return n * int(options.get("num_nodes", 1))


def _n_gpus() -> int:
    """How many there are; 1 without any, for the CPU that is then taken."""
    if _surely_no_gpu():
        return 1
    import torch

    return torch.cuda.device_count() or 1


def _has_gpu() -> bool:
    if _surely_no_gpu():
        return False
    import torch

    return torch.accelerator.is_available()


def _surely_no_gpu() -> bool:
    """Whether the machine shows that torch would find no GPU. False where only torch can tell, which then takes seconds
    to import; where it is imported already, it is asked.
    """
    if "torch" in sys.modules or sys.platform != "linux":
        return False
    if any(any(_DEVICES.glob(name)) for name in _FILES):
        return False
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return True
    return False


def check_processes(options: Mapping[str, Any], *, n_devices: int) -> None:
    """Refuses set-ups in which processes would wait for others that never come.

    Args:
        options: those of the trainer.
        n_devices: of all nodes together, as the options say.

    Raises:
        ValueError: a model is to be divided between processes and there is one; variables of torchrun are missing, or
            say another number of processes; several nodes and nothing that started this one; the port of the first
            process is taken.
    """
    _check_divided(options, n_devices)
    given = [name for name in _GIVEN if os.environ.get(name)]
    if "RANK" in given and len(given) < len(_GIVEN) and not _scheduled():
        lacking = [name for name in _GIVEN if name not in given]
        raise ValueError(
            f"{', '.join(given)} are set and {', '.join(lacking)} are not, so this process is one of several that "
            f"cannot find each other; start them with python -m omniformer.launch, or unset {' '.join(given)}"
        )
    world = int(os.environ["WORLD_SIZE"]) if len(given) == len(_GIVEN) else None
    if world is not None and world != n_devices and not _scheduled():
        raise ValueError(
            f"WORLD_SIZE={world} processes were started, trainer.devices and trainer.num_nodes ask for {n_devices}; "
            f"set trainer.devices to those of a node and trainer.num_nodes, or start {n_devices}"
        )
    if world is None and int(options.get("num_nodes", 1)) > 1 and "NODE_RANK" not in os.environ and not _scheduled():
        raise ValueError(
            f"trainer.num_nodes={options['num_nodes']} and nothing says which node this is; start the command on each "
            "node with python -m omniformer.launch --nnodes=... --rdzv-endpoint=HOST:PORT, or with srun"
        )
    if n_devices > 1:
        _check_port()


def check_heads(strategy: Any, core: Any, place: str = "core") -> None:
    """Refuses heads that do not go up between the processes that compute a block together, before data are read.

    Args:
        strategy: that of the trainer, or its description; others than ours divide no heads.
        core: its description, which may hold several.
        place: its key.

    Raises:
        ValueError: there are as many processes as do not divide a number of heads.

    Example:
        >>> check_heads(object(), {"n_heads": 3})
    """
    divided = _divided(strategy)
    if divided is None or not isinstance(core, Mapping):
        return
    for key, value in core.items():
        if key in divided.sizes and isinstance(value, int) and value % divided.together:
            raise ValueError(
                f"trainer.strategy.size={divided.together} does not divide {place}.{key}={value}; choose a number "
                "that does"
            )
        check_heads(strategy, value, f"{place}.{key}")


def _check_divided(options: Mapping[str, Any], n_devices: int) -> None:
    strategy = _divided(options.get("strategy"))
    if strategy is None:
        return
    if n_devices < 2:
        raise ValueError(
            f"trainer.strategy: {strategy.name} divides a model between processes, and trainer.devices=1 "
            "asks for one; give trainer.devices=2 or more, or choose trainer=default"
        )
    if n_devices % strategy.together:
        raise ValueError(
            f"trainer.strategy.size={strategy.together} does not divide the {n_devices} processes that trainer.devices "
            "and trainer.num_nodes ask for; choose a number that does"
        )
    if options.get("compile") == "whole":
        raise ValueError(
            f"trainer.compile=whole: {strategy.name} gathers the weights of each block between two programs, so that "
            "none has several; choose trainer.compile=blocks"
        )
    precision = options.get("precision")
    if strategy.halved and precision != "bf16-mixed":
        raise ValueError(
            f"trainer.strategy.param_dtype=bfloat16 needs trainer.precision=bf16-mixed, which computes in it; received "
            f"{precision}"
        )
    if precision in ("16-mixed", "16-true", 16, "16"):
        raise ValueError(
            f"trainer.precision={precision}: {strategy.name} scales no losses, so gradients in float16 would "
            "vanish; choose bf16-mixed or 32-true"
        )


def _divided(strategy: Any) -> _Divided | None:
    """What a strategy wants, be it built or described; None of one that divides no model."""
    if isinstance(strategy, Mapping):
        room, _, name = str(strategy.get("_target_")).rpartition(".")
        if room != "omniformer.parallel.strategy":
            return None
        together, param_dtype = strategy.get("size", 1), strategy.get("param_dtype")
    elif hasattr(strategy, "together"):
        name, together, param_dtype = type(strategy).__name__, strategy.together, strategy.param_dtype
    else:
        return None
    return _Divided(name, together, param_dtype is not None, _SIZES.get(name, ()))


def _scheduled() -> bool:
    """Whether a scheduler that Lightning knows started this process."""
    return any(name in os.environ for name in ("SLURM_NTASKS", "LSB_JOBID"))


def _check_port() -> None:
    """Refuses a port that another program listens on, where this process is the one that all others ask."""
    environ = os.environ
    if "MASTER_PORT" not in environ or environ.get("RANK", "0") != "0" or environ.get("LOCAL_RANK", "0") != "0":
        return
    # Its own agent listens there, or an earlier run of this process.
    torch = sys.modules.get("torch")  # whoever has not imported it has met nobody
    if environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" or (torch and torch.distributed.is_initialized()):
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(environ["MASTER_PORT"])))
        except (OSError, OverflowError, ValueError) as error:
            raise ValueError(
                f"MASTER_PORT={environ['MASTER_PORT']}: the processes of the run cannot meet there ({error}); choose a "
                "free port, or unset MASTER_PORT on a single machine"
            ) from error
