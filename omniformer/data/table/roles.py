"""What the columns of a table are for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from omniformer.data.table.rows import Row

CONTENTS = ("text", "vision", "audio", "graph", "series", "video")
TARGETS = ("label", "labels", "value", "token_labels", "span", "span.text")
ANSWER = "answer."
OTHERS = ("split", "group", "id")
MESSAGES = "messages"
"""The role of a conversation, which is given as a text: of it, models learn what the assistant says."""
ROLES = (*CONTENTS, MESSAGES, *TARGETS, *(ANSWER + each for each in CONTENTS), *OTHERS)
_SEVERAL = ("text", "series", "labels", "value", "span", ANSWER + "series")


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The columns of a table by what they are for, each in the order given.

    Args:
        columns: of each role that there is, the names of its columns; a column may have several.

    Example:
        >>> roles = Roles.of({"photo": "vision", "x": "value", "y": "value"})
        >>> roles.columns["value"], list(roles.given)
        (('x', 'y'), ['vision'])
    """

    columns: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, columns: Mapping[str, str]) -> "Roles":
        """The roles that a user gave the columns.

        Raises:
            ValueError: there is no such role, one that only one column may have is given twice, or nothing is given to
                a model; lists the roles that there are.
        """
        found: dict[str, tuple[str, ...]] = {}
        for column, role in ((column, role) for column, said in columns.items() for role in roles_in(said)):
            if role not in ROLES:
                near = get_close_matches(str(role), ROLES, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise ValueError(
                    f"column {column!r} has the role {role!r}, which does not exist{hint}; roles are "
                    f"{', '.join(CONTENTS)} (what is given), {MESSAGES} (a conversation), {', '.join(TARGETS)} (what "
                    f"is predicted), {ANSWER}text and the like (what is written), {', '.join(OTHERS)}; 'label and "
                    f"{ANSWER}text' are two"
                )
            found[role] = (*found.get(role, ()), column)
        for role, names in found.items():
            if len(names) > 1 and role not in _SEVERAL:
                raise ValueError(
                    f"the columns {', '.join(names)} all have the role {role!r}, which only one column may have"
                )
        if len(found.get("span", ())) > 2:
            raise ValueError(f"the role 'span' is for two columns, where it begins and ends; received {found['span']}")
        if ("span" in found or "span.text" in found) and "text" not in found:
            raise ValueError("a span stands in a text, and no column has the role 'text'")
        if MESSAGES in found and (others := {"text", "span", "span.text", "token_labels"} & {*found}):
            raise ValueError(f"a column has the role 'messages', which is the text; leave out {sorted(others)[0]!r}")
        roles = cls(columns=found)
        if not roles.given:
            raise ValueError(f"no column is given to a model; give one of the roles {', '.join(CONTENTS)} to a column")
        return roles

    @cached_property
    def given(self) -> dict[str, tuple[str, ...]]:
        """The columns of the contents, by modality, in the order in which a model reads them."""
        as_text = {"text" if role == MESSAGES else role: names for role, names in self.columns.items()}
        return {role: names for role, names in as_text.items() if role in CONTENTS}

    @cached_property
    def answers(self) -> dict[str, tuple[str, ...]]:
        """The columns of what is to be written, by modality."""
        return {role.removeprefix(ANSWER): names for role, names in self.columns.items() if role.startswith(ANSWER)}

    @cached_property
    def targets(self) -> dict[str, tuple[str, ...]]:
        """The columns of what is to be predicted, by role."""
        return {role: names for role, names in self.columns.items() if role in TARGETS}

    def names(self) -> Iterator[str]:
        """All columns that have a role."""
        for names in self.columns.values():
            yield from names

    def one(self, role: str) -> str | None:
        """The only column of a role; None where there is none."""
        names = self.columns.get(role, ())
        return names[0] if names else None

    def name_of_rows(self, there: tuple[str, ...]) -> str | None:
        """The column that names the rows of a file with these columns; None where their place does."""
        name = self.one("id")
        return None if name is None or top(name, there) is None else name

    def check(self, there: tuple[str, ...], file: Path | str) -> None:
        """Refuses columns that are not there.

        Args:
            there: the columns of a table.
            file: its name, for messages.

        Raises:
            ValueError: there is no such column; lists those that there are.
        """
        for name in self.names():
            if name not in there and top(name, there) is None:
                near = get_close_matches(name, there, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise ValueError(f"{file} has no column {name!r}{hint}; its columns are {', '.join(there)}")


def alone(role: str) -> bool:
    """Whether only one column may have a role.

    Example:
        >>> alone("graph"), alone("text")
        (True, False)
    """
    return role not in _SEVERAL


def roles_in(said: str) -> list[str]:
    """The roles that a column was given.

    Example:
        >>> roles_in("label and answer.text")
        ['label', 'answer.text']
    """
    return str(said).split(" and ")


def top(name: str, columns: tuple[str, ...]) -> str | None:
    """The column in which something nested stands: `answers` for `answers.text`; None where there is none.

    Example:
        >>> top("answers.text", ("answers", "question"))
        'answers'
    """
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        if (outer := ".".join(parts[:n])) in columns:
            return outer
    return None


def cell(row: Row, name: str) -> Any:
    """A cell by name, also one that is nested in another; None where it is empty: null, NaN, or a text without letters.

    Example:
        >>> cell({"answers": {"text": ["Bern"]}}, "answers.text"), cell({"a": " "}, "a")
        (['Bern'], None)
    """
    if name in row:
        found = row[name]
    else:
        outer = top(name, tuple(row))
        found = row.get(outer) if outer else None
        for part in name[len(outer) + 1 :].split(".") if outer else ():
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return found if found.strip() else None
    return None if isinstance(found, float) and found != found else found
