"""The text of `--help`, from the configuration files themselves; neither torch nor Hydra is imported for it."""

from collections.abc import Mapping, Sequence
from textwrap import fill

_EXAMPLES = (
    ("modality=vision", "train on handwritten digits; nothing is downloaded"),
    ("modality=all trainer.max_epochs=5", "one core for text, images, audio and graphs"),
    ("modality=text core.d_model=128 core.n_layers=4 optim.lr=3e-4", "change any value"),
    ("modality=vision debug=fast", "every stage on a few batches, in seconds"),
    ("-m modality=vision,audio seed=0,1,2", "a sweep: six runs, each in a folder of its own"),
)
_OPTIONS = (
    ("--cfg job", "print the composed configuration and stop"),
    ("--config-dir DIR", "use groups and options of your own as well"),
    ("-m, --multirun", "run all combinations of values that hold commas"),
    ("--hydra-help", "everything else that Hydra can do"),
)
_HIDDEN = ("hydra", "local", "paths")  # groups that few people choose from


def usage(
    command: str, what: str, options: Mapping[str, Sequence[str]], examples: Sequence[tuple[str, str]] = _EXAMPLES
) -> str:
    """The help text.

    Args:
        command: how the program is called.
        what: the first line of its docstring.
        options: the options of each config group, by name.
        examples: arguments, and what they do.

    Example:
        >>> print(usage("train", "Trains.", {"debug": ["fast"]}).splitlines()[2])
        usage: train [group=option ...] [key=value ...]
    """
    groups = {group: names for group, names in options.items() if group.split("/")[0] not in _HIDDEN}
    width = max([len(group) for group in groups], default=0)
    lines = [what, "", f"usage: {command} [group=option ...] [key=value ...]", "", "groups and their options:"]
    lines += [
        fill(", ".join(names), 100, initial_indent=f"  {group:{width}}  ", subsequent_indent=" " * (width + 4))
        for group, names in groups.items()
    ]
    lines += [
        "",
        "keys: every value printed by --cfg job, and every other parameter of the classes named there; for example",
        "  seed=1  data_root=data  resume=outputs/vision/...  core.n_heads=8  optim.lr=0.001  trainer.devices=2",
        "",
        "options:",
        *(f"  {option:16}  {meaning}" for option, meaning in _OPTIONS),
        "",
        "examples:",
    ]
    for arguments, meaning in examples:
        lines += [f"  {command} {arguments}", f"      {meaning}"]
    return "\n".join(lines)
