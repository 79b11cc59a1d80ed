"""Whether the processes of a run can find each other, asked before anybody waits for them."""

import os
import socket
from collections.abc import Mapping
from typing import Any

import torch.distributed

from omniformer.parallel.strategy import FSDP

# What torchrun gives each process that it starts.
_GIVEN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


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
        strategy: that of the trainer; one without `divided_sizes` divides no heads.
        core: its description, which may hold several.
        place: its key.

    Raises:
        ValueError: there are as many processes as do not divide a number of heads.

    Example:
        >>> check_heads(object(), {"n_heads": 3})
    """
    sizes = getattr(strategy, "divided_sizes", ())
    for key, value in core.items() if sizes and isinstance(core, Mapping) else ():
        if key in sizes and isinstance(value, int) and value % strategy.together:
            raise ValueError(
                f"trainer.strategy.size={strategy.together} does not divide {place}.{key}={value}; choose a number "
                "that does"
            )
        check_heads(strategy, value, f"{place}.{key}")


def _check_divided(options: Mapping[str, Any], n_devices: int) -> None:
    strategy = options.get("strategy")
    if not isinstance(strategy, FSDP):
        return
    if n_devices < 2:
        raise ValueError(
            f"trainer.strategy: {type(strategy).__name__} divides a model between processes, and trainer.devices=1 "
            "asks for one; give trainer.devices=2 or more, or choose trainer=default"
        )
    if n_devices % strategy.together:
        raise ValueError(
            f"trainer.strategy.size={strategy.together} does not divide the {n_devices} processes that trainer.devices "
            "and trainer.num_nodes ask for; choose a number that does"
        )
    precision = options.get("precision")
    if strategy.param_dtype is not None and precision != "bf16-mixed":
        raise ValueError(
            f"trainer.strategy.param_dtype=bfloat16 needs trainer.precision=bf16-mixed, which computes in it; received "
            f"{precision}"
        )
    if precision in ("16-mixed", "16-true", 16, "16"):
        raise ValueError(
            f"trainer.precision={precision}: {type(strategy).__name__} scales no losses, so gradients in float16 would "
            "vanish; choose bf16-mixed or 32-true"
        )


def _scheduled() -> bool:
    """Whether a scheduler that Lightning knows started this process."""
    return any(name in os.environ for name in ("SLURM_NTASKS", "LSB_JOBID"))


def _check_port() -> None:
    """Refuses a port that another program listens on, where this process is the one that all others ask."""
    environ = os.environ
    if "MASTER_PORT" not in environ or environ.get("RANK", "0") != "0" or environ.get("LOCAL_RANK", "0") != "0":
        return
    # Its own agent listens there, or an earlier run of this process.
    if environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" or torch.distributed.is_initialized():
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
