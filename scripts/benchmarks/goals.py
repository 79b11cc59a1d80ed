"""What every goal of docs/benchmarks.md is measured by, so that nobody copies numbers by hand."""

from collections.abc import Callable, Mapping

from benchmarks.measuring import MEDIUM

Cells = Mapping[str, str]  # a row of the table of record, by the names of its columns
HEADER = "| work | goal | now | what stands in the way |"


def faster(ours: Cells, other: Cells) -> str:
    """How many times as fast ours is as the other, by wall time and by processor time."""
    return f"{other['ratio']}, {other['cpu']}"


def share(ours: Cells, other: Cells) -> str:
    """The other's time as a share of ours turned round: ours over the other's."""
    return ", ".join(f"{1 / float(other[each]):.2f}" for each in ("ratio", "cpu"))


def memory(ours: Cells, other: Cells) -> str:
    """Our memory over the other's."""
    return f"{_number(ours['MiB']) / _number(other['MiB']):.2f}"


def at_medium(rows: Mapping[str, Cells]) -> str:
    """How many times as fast ours is with products of medium precision as the fastest other, whatever its precision; an
    empty string where that was not measured.

    Args:
        rows: of one subject by contender.
    """
    ours = rows.get(f"ours{MEDIUM}")
    if ours is None:
        return ""
    others = [cells for name, cells in rows.items() if not name.startswith("ours")]
    found = (min(float(cells[each]) for cells in others) / float(ours[each]) for each in ("ratio", "cpu"))
    return f"; with medium {', '.join(f'{number:.2f}' for number in found)}"


# The work as the table of goals calls it: how it is measured, of which subject, beside which contenders.
GOALS: dict[str, tuple[Callable[[Cells, Cells], str], str, tuple[str, ...]]] = {
    "language model in float32, GPT-2's parts": (faster, "lm_gpt2", ("as nanoGPT", "torch.nn")),
    "language model in float32, default parts": (faster, "lm_default", ("as nanoGPT", "torch.nn")),
    "language model in bfloat16, GPT-2's parts": (faster, "lm_gpt2_bf16", ("as nanoGPT", "torch.nn")),
    "language model in bfloat16, default parts": (faster, "lm_default_bf16", ("as nanoGPT", "torch.nn")),
    "pictures in float32": (faster, "vit", ("as SimpleViT", "as SimpleViT, fused")),
    "pictures in bfloat16": (faster, "vit_bf16", ("as SimpleViT", "as SimpleViT, fused")),
    "a sound with its features": (faster, "spectrogram", ("torchaudio and SimpleViT",)),
    "ragged texts, share of the ideal": (faster, "ragged", ("ideal: equally long",)),
    "pictures of mixed sizes": (faster, "mixed_sizes", ("padded",)),
    "molecules like TransformerConv": (faster, "molecules", ("TransformerConv",)),
    "molecules like GPS": (faster, "gps", ("GPSConv",)),
    "one graph of 20,000 nodes": (faster, "large_graph", ("TransformerConv",)),
    "its memory, of the peer's": (memory, "large_graph", ("TransformerConv",)),
    "encoder and decoder": (faster, "translation", ("torch.nn",)),
    "greedy decoding, one text": (faster, "decoding_1", ("as litgpt",)),
    "greedy decoding, eight texts": (faster, "decoding_8", ("as litgpt",)),
    "greedy decoding, one text, rounded weights": (share, "decoding_weights", ("bf16", "int8")),
    "four modalities in one batch, over one after the other": (share, "joint", ("ours, in turn",)),
}


def with_goals(page: str, record: str) -> str:
    """The page with the numbers of its record in the column `now` of its goals.

    Args:
        page: docs/benchmarks.md.
        record: the header of its table of record.

    Raises:
        ValueError: a goal is no row of the page, or a contender has none in the record.
    """
    lines = page.splitlines()
    measured = {(row["subject"], row["contender"]): row for row in _rows(lines, record)}
    places = {_cells(line)[0]: place for place, line in enumerate(lines) if line.startswith("|")}
    for work, (say, subject, others) in GOALS.items():
        names = [name for known, name in measured if known == subject]
        if work not in places or not set(others) <= set(names):
            raise ValueError(f"the goal {work!r} has no row, or {subject} no rows of {', '.join(others)}")
        ours = measured[subject, names[0]]  # which stands first
        said = [(say(ours, measured[subject, other]), other) for other in others]
        cells = _cells(lines[places[work]])
        cells[2] = "; ".join(f"{number} {other}" for number, other in said) if len(said) > 1 else said[0][0]
        if say is faster:
            cells[2] += at_medium({name: row for (known, name), row in measured.items() if known == subject})
        lines[places[work]] = f"| {' | '.join(cells)} |"
    return "\n".join(lines) + "\n"


def _rows(lines: list[str], header: str) -> list[Cells]:
    """The rows of the table with this header."""
    start = lines.index(header) + 2
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    return [dict(zip(_cells(header), _cells(line), strict=True)) for line in lines[start:end]]


def _cells(line: str) -> list[str]:
    return [each.strip() for each in line.strip().strip("|").split("|")]


def _number(cell: str) -> float:
    return float(cell.replace(",", ""))
