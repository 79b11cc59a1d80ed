"""Writes the table of docs/scale.md: memory and communication of a device among many, as `omniformer inspect` computes.

uv run python scripts/write_scale.py
"""

from pathlib import Path

from hydra import compose, initialize_config_dir

from omniformer.config.composing import plain
from omniformer.config.folder import conf_dir
from omniformer.inspection.report import numbers, share_of_device
from omniformer.inspection.whole import build_on_meta

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
# One key head, which gemma3_1b has, is not divided.
CORES = {"gemma3_1b": ("ddp", "fsdp", "context"), "llama3_8b": ("ddp", "fsdp", "tensor", "context")}
SIZE = 8  # devices of a group that compute together
DEVICES = (8, 64, 256, 1024)
KEYS = ("dtype=bfloat16", "seq_len=4096", "batch_size=1", "++core.checkpoint_blocks=true")
_HEAD = (
    "| `core=` | devices | `strategy=` | a device holds | whole, at the fullest moment | the core keeps | in all "
    "| sends in a step | operations a byte |\n|---|---:|---|---:|---:|---:|---:|---:|---:|\n"
)
_BEGIN, _END = "<!-- written by scripts/write_scale.py -->\n", "<!-- until here -->\n"


def table() -> str:
    """The table, a line for each core, number of devices and strategy."""
    return _HEAD + "".join(line for core in CORES for line in _lines(core))


def page() -> str:
    """The whole page, with its table as of now.

    Raises:
        ValueError: the page lacks the two comments around its table.
    """
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{PAGE}: {_BEGIN.strip()} and {_END.strip()} stand around its table; write both")
    return before + begin + table() + end + after


def _lines(core: str) -> list[str]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = plain(compose("inspect", [f"core={core}", *KEYS]))
    found, whole = numbers(config), build_on_meta(config)
    lines = []
    for devices in DEVICES:
        for strategy in CORES[core]:
            share = share_of_device(
                whole, config | {"devices": devices, "strategy": strategy, "group_size": SIZE}, found
            )
            memory = [share["device/held_bytes"], share["device/whole_bytes"], share["device/kept_bytes"]]
            sizes = [*memory, share["device/bytes"], share["device/sent_bytes"]]
            cells = [f"`{core}`", f"{devices:,}", strategy, *(f"{size / 1e9:,.1f} GB" for size in sizes)]
            lines.append(f"| {' | '.join([*cells, format(share['device/flops_per_byte'], ',')])} |\n")
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
