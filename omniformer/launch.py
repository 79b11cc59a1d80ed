"""`omniformer launch OPTIONS -m omniformer.train KEY=VALUE...`: torchrun whose exit status can be believed.

Takes the options of torchrun and passes them on. torchrun ends with 1 whatever happened, and does not know SIGUSR1;
schedulers look at the status to tell a stop from a fault.
"""

import os
import sys
from collections.abc import Sequence

from omniformer.config.called import called, versions
from omniformer.config.cli import STAMP, run_stamp

_SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
_RENDEZVOUS = ("--nnodes", "--rdzv", "--master", "--node", "--standalone")


def main(arguments: Sequence[str] | None = None) -> None:
    """Starts a command once for each process of a run, on this machine or on several, and waits for them.

    The status is 0, or that of the first process that failed: 143, 130 or 138 after SIGTERM, SIGINT or SIGUSR1, to the
    launcher or to any process.

    Raises:
        SystemExit: always, with that status.

    Example:
        `python -m omniformer.launch --nproc-per-node 2 -m omniformer.train modality=text trainer=ddp trainer.devices=2`
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["--help"], ["-h"], ["--version"], []):
        print(versions() if given[:1] == ["--version"] else _usage())
        raise SystemExit(0 if given else 2)
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    options = [f"--signals-to-handle={_SIGNALS}"]
    if not any(each.startswith(_RENDEZVOUS) for each in _own(given)):
        options.append("--standalone")  # one machine: any free port
        os.environ[STAMP] = run_stamp({})  # and all processes are its children, which find the run's name here
    try:
        torchrun([*options, *given])
    except SignalException as stop:
        raise SystemExit(128 + stop.sigval) from None
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        raise SystemExit(first.exitcode if first.exitcode > 0 else 128 - first.exitcode) from None
    raise SystemExit(0)


def _usage() -> str:
    """What stands beside torchrun's own options."""
    from torch.distributed.run import get_args_parser

    first, _, theirs = get_args_parser().format_help().partition("options:")
    return (
        f"usage: {called('launch')} OPTIONS -m omniformer.train KEY=VALUE...\n\n{(main.__doc__ or '').strip()}\n\n"
        f"options of torchrun:{theirs or first}"
    )


def _own(given: Sequence[str]) -> list[str]:
    """The options that are torchrun's, and not those of the command that it starts."""
    end = next((i for i, each in enumerate(given) if each in ("-m", "--module") or each.endswith(".py")), len(given))
    return [each.replace("_", "-") for each in given[:end]]


if __name__ == "__main__":
    main()
