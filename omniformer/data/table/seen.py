"""What one look at the rows of a table found: some dozens of bytes a row, so that a table may be larger than memory."""

from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from omniformer.data.source import SPLITS, Split

_FREE = -1
_DIGEST = 12  # bytes that stand for what a row holds


class Seen:
    """The rows of a table that can be used, by columns.

    Args:
        n_values: numbers of each row.
        named: whether rows have a key beside what they hold: a group, or an id.

    Example:
        >>> seen = Seen(n_values=0, named=False)
        >>> seen.add(7, None, ("cat",), (), b"x" * 12)
        >>> len(seen), seen.index[0], seen.names(0)
        (1, 7, ('cat',))
    """

    def __init__(self, *, n_values: int, named: bool) -> None:
        self.n_values = n_values
        self.index, self._split, self._digests = array("q"), array("b"), bytearray()
        self._codes, self._ends, self._values = array("i"), array("q", [0]), array("d")
        self._code: dict[str, int] = {}
        self._keys = Texts() if named else None

    NAMES = ("index", "split", "digests", "codes", "ends", "values", "n_values", "names", "keys")

    def told(self) -> dict[str, Any]:
        """Arrays and what JSON can say, of which `from_told` makes the same again."""
        columns = (self.index, self._split, np.frombuffer(self._digests, np.uint8), self._codes, self._ends)
        columns = (*map(np.asarray, (*columns, self._values)), self.n_values, list(self._code))
        return dict(zip(self.NAMES, (*columns, None if self._keys is None else list(self._keys)), strict=True))

    @classmethod
    def from_told(cls, told: Mapping[str, Any]) -> "Seen":
        """What `told` has told."""
        seen = cls(n_values=told["n_values"], named=told["keys"] is not None)
        seen.index, seen._split, seen._codes, seen._ends, seen._values = (
            array(kind, told[name].tobytes())
            for kind, name in (("q", "index"), ("b", "split"), ("i", "codes"), ("q", "ends"), ("d", "values"))
        )
        seen._digests = bytearray(told["digests"].tobytes())
        seen._code = {name: code for code, name in enumerate(told["names"])}
        seen._keys = None if told["keys"] is None else Texts(told["keys"])
        return seen

    def __len__(self) -> int:
        return len(self.index)

    def add(
        self,
        index: int,
        split: Split | None,
        names: Iterable[str],
        values: Iterable[float],
        digest: bytes,
        key: str | None = None,
    ) -> None:
        """Notes a row.

        Args:
            index: its number in the table.
            split: as the table or the file says; None where neither does.
            names: of the classes in it.
            values: the numbers in it.
            digest: 12 bytes that stand for what it holds.
            key: its group or its id.
        """
        self.index.append(index)
        self._split.append(_FREE if split is None else SPLITS.index(split))
        self._codes.extend(self._code.setdefault(name, len(self._code)) for name in names)
        self._ends.append(len(self._codes))
        self._values.extend(values)
        self._digests += digest
        if self._keys is not None:
            self._keys.append(str(key))

    def of(self, split: Split | None) -> np.ndarray:
        """The places of the rows of a split, in order; None for those that have none yet."""
        return np.flatnonzero(np.asarray(self._split) == (_FREE if split is None else SPLITS.index(split)))

    def put(self, places: np.ndarray, splits: Sequence[Split]) -> None:
        """Gives rows a split."""
        np.asarray(self._split)[places] = [SPLITS.index(split) for split in splits]

    def follow(self, places: np.ndarray) -> None:
        """Gives each row the split of the one at the place said for it."""
        splits = np.asarray(self._split)
        splits[:] = splits[places]

    def split(self, place: int) -> Split | None:
        """The split of a row; None where it has none yet."""
        return None if self._split[place] == _FREE else SPLITS[self._split[place]]

    def names(self, place: int) -> tuple[str, ...]:
        """The classes of a row."""
        known = list(self._code)
        return tuple(known[code] for code in self._codes[self._ends[place] : self._ends[place + 1]])

    def classes(self, split: Split) -> set[str]:
        """All classes of the rows of a split."""
        codes, of_split = np.asarray(self._codes), np.asarray(self._split) == SPLITS.index(split)
        known = list(self._code)
        return {known[code] for code in np.unique(codes[np.repeat(of_split, np.diff(self._ends))])}

    def first_names(self, places: np.ndarray) -> np.ndarray:
        """A number for the first class of each of some rows."""
        return np.asarray(self._codes)[np.asarray(self._ends)[places]]

    def nth(self, files: np.ndarray) -> np.ndarray:
        """The number of each row among those of its first class in its file.

        Args:
            files: the number of the file of each.
        """
        kinds = self.first_names(np.arange(len(self))) + files * len(self._code)
        order = np.argsort(kinds, kind="stable")
        first = np.flatnonzero(np.diff(kinds[order], prepend=-1))  # of each kind, where it begins
        numbers = np.empty(len(self), dtype=np.int64)
        numbers[order] = np.arange(len(self)) - np.repeat(first, np.diff(first, append=len(self)))
        return numbers

    def values(self, places: np.ndarray) -> np.ndarray:
        """The numbers of some rows, float64 `[rows, numbers]`."""
        return np.asarray(self._values).reshape(-1, self.n_values)[places]

    def strata(self, places: np.ndarray) -> list[Hashable]:
        """What each of some rows is: its classes."""
        shared: dict[bytes, bytes] = {}  # one object for each kind
        codes = (self._codes[self._ends[place] : self._ends[place + 1]].tobytes() for place in places)
        return [shared.setdefault(each, each) for each in codes]

    def key(self, place: int) -> str:
        """What names a row for its split: its group, its id, or what it holds."""
        return self.content(place) if self._keys is None else self._keys[place]

    def content(self, place: int) -> str:
        """What a row holds, as a name of it."""
        return self._digests[_DIGEST * place : _DIGEST * (place + 1)].hex()

    def sets(self, places: np.ndarray, *, grouped: bool) -> np.ndarray:
        """The number of the set that each of some rows is in: rows of one set hold the same, or share a group.

        Args:
            places: of the rows.
            grouped: whether the keys are groups.
        """
        contents = self._contents()[places]
        if self._keys is None or not grouped:
            return contents
        n, number = len(places), dict[str, int]()
        groups = np.array([number.setdefault(self._keys[place], len(number)) for place in places]) + n
        joined = coo_array((np.ones(n, np.int8), (contents, groups)), shape=(2 * n, 2 * n))
        return connected_components(joined, directed=False)[1][contents]

    def repeats(self) -> int:
        """How many rows hold what another one before them holds."""
        return len(self) - len(np.unique(self._contents()))

    def leaks(self) -> dict[Split, int]:
        """How many rows of validation and test hold what a row of training holds."""
        contents = self._contents()
        trained = contents[self.of("train")]
        parts: tuple[Split, Split] = ("val", "test")
        found: dict[Split, int] = {name: int(np.isin(contents[self.of(name)], trained).sum()) for name in parts}
        return {name: n for name, n in found.items() if n}

    def strange(self, known: Iterable[str]) -> dict[int, str]:
        """By the place of each row with a class that is not among these, the first such class."""
        names, known = list(self._code), {*known}
        wrong = np.array([name not in known for name in names], dtype=bool)
        found: dict[int, str] = {}
        for at in np.flatnonzero(wrong[np.asarray(self._codes)]) if wrong.any() else ():
            place = int(np.searchsorted(self._ends, at, side="right")) - 1
            found.setdefault(place, names[self._codes[at]])
        return found

    def without(self, places: Iterable[int]) -> "Seen":
        """The same without some rows."""
        gone, kept = {*places}, Seen(n_values=self.n_values, named=self._keys is not None)
        for place in range(len(self)):
            if place not in gone:
                values = self._values[place * self.n_values : (place + 1) * self.n_values]
                digest = bytes(self._digests[_DIGEST * place : _DIGEST * (place + 1)])
                kept.add(self.index[place], self.split(place), self.names(place), values, digest, self.key(place))
        return kept

    def _contents(self) -> np.ndarray:
        """A number for what each row holds; by the first eight bytes, where these tell all rows apart that differ."""
        first, rest = (np.frombuffer(self._digests, np.uint32).reshape(-1, 3)[:, part] for part in (slice(2), 2))
        _, place, numbers = np.unique(
            np.ascontiguousarray(first).view(np.uint64)[:, 0], return_index=True, return_inverse=True
        )
        if (rest == rest[place][numbers]).all():
            return numbers
        return np.unique(np.frombuffer(self._digests, f"V{_DIGEST}").view("u8,u4"), return_inverse=True)[1]


class Texts(Sequence[str]):
    """Texts end to end.

    Args:
        texts: the first of them.

    Example:
        >>> texts = Texts()
        >>> texts.append("a"), texts.append("bc"), list(texts)
        (None, None, ['a', 'bc'])
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._content, self._ends = bytearray(), array("q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Puts a text behind the others."""
        self._content += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._content))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        numbers = range(len(self))[index]
        return self._text(numbers) if isinstance(numbers, int) else [self._text(number) for number in numbers]

    def _text(self, number: int) -> str:
        return self._content[self._ends[number] : self._ends[number + 1]].decode("utf-8", "surrogatepass")
