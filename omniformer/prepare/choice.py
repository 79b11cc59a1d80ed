"""What each column is for: what is given, what is to be predicted, what is left out and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from omniformer.data.table.roles import ANSWER, CONTENTS, Roles
from omniformer.prepare.columns import Column
from omniformer.prepare.guesses import Guess, is_target_name

JOIN = " | "
CONSTANT = "it tells no row from another"  # why a column is left out
_TARGETS = ("category", "yes_no", "tags", "number")
_ROLES = {"category": "label", "yes_no": "label", "tags": "labels", "number": "value", "words": "token_labels"}
_WORDED = ("text", "words", "tags", "name", "category")
_GIVEN = {"words": "text", **{name: name for name in CONTENTS}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the columns are for.

    Args:
        columns: role by column, as `Table` takes them.
        left_out: by column, why it is not used.
        join: what stands between several texts; None where there is one.
    """

    columns: dict[str, str]
    left_out: dict[str, str] = field(default_factory=dict)
    join: str | None = None

    @property
    def roles(self) -> Roles:
        """The same, by role."""
        return Roles.of(self.columns)


def choose(
    columns: Mapping[str, Column],
    guesses: Mapping[str, Guess],
    *,
    targets: Sequence[str] = (),
    given: Mapping[str, str | None] | None = None,
) -> Choice:
    """What each column is for.

    Args:
        columns: what was seen of them.
        guesses: of which kind each is.
        targets: which are to be predicted; empty finds out.
        given: roles that a user gave, which count; None leaves a column out.

    Raises:
        ValueError: there is no such column; nothing is left to be given; or it is not clear what is to be predicted:
            lists what could be, and says what to type.
    """
    said = dict(given or {})
    for name in (*targets, *said):
        if name not in columns:
            raise ValueError(f"there is no column {name!r}; columns are {', '.join(columns)}")
    kinds = {name: each.kind for name, each in guesses.items() if name not in said}
    found = {name: role for name, role in said.items() if role is not None}
    if not Roles(columns=dict.fromkeys(found.values(), ())).targets and not any(
        role.startswith(ANSWER) for role in found.values()
    ):
        found |= _predicted(columns, kinds, list(targets) or _undoubted(columns, kinds))
    of_words = _of_words(columns, kinds)
    inputs = {
        name: _GIVEN[kind]
        for name, kind in kinds.items()
        if name not in found and kind in _GIVEN and not (name in of_words and kind == "series")
    }
    inputs = _last(inputs, found, columns)
    if not inputs and not Roles(columns=dict.fromkeys(found.values(), ())).given:
        raise ValueError(
            f"no column holds what a model could be given ({', '.join(CONTENTS)}): "
            f"{_told(guesses)}; say which does with --columns '{{{next(iter(columns))}: text}}'"
        )
    others = {name: kind for name, kind in kinds.items() if kind in ("split", "id") and name not in found}
    for role in ("split", "id"):
        if role in found.values():
            others = {name: kind for name, kind in others.items() if kind != role}
    once = {kind: name for name, kind in reversed(others.items()) if kind != "id" or _whole_table(columns[name])}
    chosen = {**inputs, **found, **{name: kind for kind, name in once.items()}}
    left = {name: _why(guesses[name], said, name) for name in columns if name not in chosen}
    left |= {name: "it gives each word a class" for name in of_words if name in left and name not in said}
    texts = sum(role == "text" for role in chosen.values())
    return Choice(columns=chosen, left_out=left, join=JOIN if texts > 1 else None)


def _undoubted(columns: Mapping[str, Column], kinds: Mapping[str, str]) -> list[str]:
    """The columns that are to be predicted, where only one answer is likely.

    Raises:
        ValueError: several are.
    """
    could = {name: kind for name, kind in kinds.items() if kind in _TARGETS}
    named = [name for name in could if is_target_name(name)]
    classes = [name for name, kind in could.items() if kind in ("category", "tags")]
    questions = [name for name, kind in could.items() if kind == "yes_no"]
    words = _of_words(columns, kinds)
    for likely in (named, words, classes if not questions else [], list(could)):
        if len(likely) == 1:
            return likely
    if len(questions) > 1 and len(questions) == len(could):
        return questions
    if could := list(dict.fromkeys([*could, *words])):
        raise ValueError(
            f"{len(could)} columns could be what is to be predicted: {', '.join(could)}; name one with --target NAME, "
            "or several yes-no questions or numbers with --target NAME NAME"
        )
    return []


def _of_words(columns: Mapping[str, Column], kinds: Mapping[str, str]) -> list[str]:
    """The columns of lists, of names or of whole numbers, that give each word of another one a class: those with fewer
    different ones. They may be the same in all rows, as of sentences that are made by a pattern.
    """
    lists = {
        name: {word for cell in columns[name].cells for word in cell}
        for name, kind in kinds.items()
        if kind in ("words", "tags", "series", "constant") and _flat(columns[name])
    }
    words = [name for name in lists if kinds[name] in ("words", "tags")]
    return [
        name
        for name, own in lists.items()
        if len(own) > 1
        and any(
            len(lists[other]) > len(own) and _as_long(columns[name], columns[other]) for other in words if other != name
        )
    ]


def _flat(column: Column) -> bool:
    """Whether its cells are lists of names, or of whole numbers."""
    inner = [each for cell in column.cells for each in cell] if column.kept == "list" else []
    return bool(inner) and any(all(type(each) is kind for each in inner) for kind in (str, int))


def _as_long(one: Column, other: Column) -> bool:
    pairs = list(zip(one.by_row, other.by_row, strict=True))
    return bool(pairs) and all(len(a or ()) == len(b or ()) for a, b in pairs[:200])


def _predicted(columns: Mapping[str, Column], kinds: Mapping[str, str], targets: Sequence[str]) -> dict[str, str]:
    """The roles of what is to be predicted.

    Raises:
        ValueError: all are the same, or numbers that no reader here takes for some.
    """
    several = len(targets) > 1
    found: dict[str, str] = {}
    for name in targets:
        kind = kinds.get(name, "")
        if kind == "constant" and name not in _of_words(columns, kinds):
            raise ValueError(
                f"all cells of {name} are the same, of which nothing can be learned; name another --target"
            )
        if kind == "comma":
            raise ValueError(
                f"{name} holds numbers with a decimal comma; write them with a point, 1234.5, in the table"
            )
        role = "labels" if several and kind == "yes_no" else _ROLES.get(kind)
        if name in _of_words(columns, kinds):
            role = "token_labels"
        elif (start := _span_beside(columns, kinds, name)) is not None:
            role = "span.text"
            found |= {start: "span"} if start else {}
        elif role is None or kind == "words":
            role = ANSWER + _GIVEN.get(kind, "text")
        found[name] = role
    return found


def _span_beside(columns: Mapping[str, Column], kinds: Mapping[str, str], name: str) -> str | None:
    """Where answers stand in another text: the column of where they begin, or nothing; None where they do not."""
    repeated = kinds.get(name) == "category" and "answer" not in name.lower()  # a class that its text may well name
    if repeated or kinds.get(name) not in _WORDED or _around(columns, kinds, name) is None:
        return None
    outer = name.rpartition(".")[0]
    return next((each for each in columns if outer and each.startswith(f"{outer}.") and "start" in each), "")


def _around(columns: Mapping[str, Column], kinds: Mapping[str, str], name: str) -> str | None:
    """The text in which the answers of a column stand."""
    answers = [each[0] if isinstance(each, list) and each else each for each in columns[name].by_row]
    for other, kind in kinds.items():
        if kind != "text" or other == name:
            continue
        pairs = [
            (answer, text)
            for answer, text in zip(answers, columns[other].by_row, strict=False)
            if isinstance(answer, str) and isinstance(text, str)
        ]
        if pairs and all(answer in text and len(answer) < len(text) for answer, text in pairs):
            return other
    return None


def _last(inputs: dict[str, str], found: Mapping[str, str], columns: Mapping[str, Column]) -> dict[str, str]:
    """The inputs, behind all others the text that a span stands in."""
    answer = next((name for name, role in found.items() if role == "span.text"), None)
    if answer is None:
        return inputs
    kinds = {name: "text" for name, role in inputs.items() if role == "text"} | {answer: "text"}
    around = _around(columns, kinds, answer)
    return {name: role for name, role in inputs.items() if name != around} | ({around: "text"} if around else {})


def _whole_table(column: Column) -> bool:
    """Whether a column of ids was seen whole, so that none can be there twice."""
    return column.distinct == column.rows and not column.missing


def _why(guess: Guess, said: Mapping[str, str | None], name: str) -> str:
    if name in said:
        return "left out as you say"
    reasons = {
        "number": "a number by itself is no content that a model could be given",
        "category": "a class by itself is no content that a model could be given",
        "yes_no": "an answer by itself is no content that a model could be given",
        "tags": "classes by themselves are no content that a model could be given",
        "date": "a date by itself is no content that a model could be given",
        "comma": "a number is written with a point",
        "constant": CONSTANT,
        "nothing": guess.why,
        "name": "it names rows",
        "id": "it names rows",
    }
    return reasons.get(guess.kind, "another column has this role")


def _told(guesses: Mapping[str, Guess]) -> str:
    return ", ".join(f"{name} is {guess.kind} ({guess.why})" for name, guess in guesses.items())
