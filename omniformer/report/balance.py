"""How members of a joint run shared the core: what each was given, how hard it pulled, and which pulled apart."""

from omniformer.pages.blocks import Block, Section, Table, Words
from omniformer.report.run import Run
from omniformer.training.results import format_number

_OF_MEMBERS = {
    "samples": "samples",
    "token_share": "share of tokens",
    "gradient_norm": "gradient norm",
    "gradient_share": "share of norms",
    "balance": "weighed by",
}
_OF_PAIRS = {"gradient_cosine": "cosine", "gradient_conflicts": "steps below 0"}
MEASURED = ("gradient_norm", "gradient_share", "gradient_cosine", "gradient_conflicts", "balance")


def balance(run: Run) -> Section | None:
    """Tables of members and of pairs of them; None for a run of one member.

    Where `callbacks=balance` has measured nothing, what members were given stands alone, and how to measure.
    """
    members = _table(run, _OF_MEMBERS, "member")
    if len(members.rows) < 2:
        return None
    blocks: list[Block] = [members]
    pairs = _table(run, _OF_PAIRS, "members")
    if pairs.rows:
        blocks.append(pairs)
    if any(name.endswith("/gradient_norm") for name in run.numbers):
        told = (
            "Gradients of the weighted losses on the core, means over measured steps; a cosine below 0 is a conflict."
        )
    else:
        told = "callbacks=balance also measures how hard each member pulls at the core, and which against each other."
    return Section("Balance of members", [*blocks, Words(told)])


def _table(run: Run, said: dict[str, str], first: str) -> Table:
    """A row for each name before `/train/`, of the numbers that any of them has."""
    found: dict[str, dict[str, str]] = {}
    for name, value in run.numbers.items():
        member, _, number = name.partition("/train/")
        if number in said and member != name:
            found.setdefault(member, {})[number] = format_number(name, value)
    columns = [number for number in said if any(number in row for row in found.values())]
    rows = [[member, *(row.get(number, "") for number in columns)] for member, row in sorted(found.items())]
    return Table([first, *(said[number] for number in columns)], rows)
