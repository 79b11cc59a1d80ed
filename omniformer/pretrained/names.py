"""How the tensors of a published file and the parameters of our model answer to each other: tables of names."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omniformer.pretrained.files.checkpoint import CONFIG_FILE

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """One line of the table: a parameter of ours, or some rows of it, and the tensor that holds the same numbers.

    Args:
        ours: the parameter, as in `named_parameters`.
        theirs: the tensor in the file.
        rows: which rows of ours, from the first to before the second; all by default. Queries, keys and values are rows
            of one matrix with us.
        index: which one of ours along the first axis, where ours stacks what theirs names one by one (experts).
        order: for each row of theirs the one of ours that holds the same numbers, where theirs stand in another order:
            head by head.
        their_rows: which rows of theirs; all by default.
        shape: the shape of theirs where it is not that of ours: a convolution's kernel, which we keep flat.
        transposed: whether theirs is `[in, out]` where ours is `[out, in]`.
        view: the shape as which ours is seen, before `axes`: a kernel that we keep flat.
        axes: the order of our axes in theirs, where it is another: time and frequency.
        also: further names under which files hold the same numbers again: tables that several parts share. One of them
            is enough; where there are several, they must agree.
        instead: names that are read where theirs is not there, in this order.
        absent: the value of all its numbers where none of these is there; by default the tensor must be there.
    """

    ours: str
    theirs: str
    rows: tuple[int, int] | None = None
    index: int | None = None
    order: tuple[int, ...] | None = None
    their_rows: tuple[int, int] | None = None
    shape: Shape | None = None
    transposed: bool = False
    view: Shape | None = None
    axes: tuple[int, ...] | None = None
    also: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    absent: float | None = None

    def expected(self, parameter: Tensor) -> Shape:
        """The shape that theirs must have, of a whole tensor; rows of theirs are checked by `place`."""
        if self.shape is not None:
            return self.shape
        own = tuple(self.part(parameter).shape)
        return own[::-1] if self.transposed else own

    def part(self, parameter: Tensor) -> Tensor:
        """The numbers of ours that are meant, as a view.

        Raises:
            IndexError: ours has no such rows.
        """
        if self.index is not None:
            parameter = parameter[self.index]
        if self.rows is not None:
            first, last = self.rows
            if last > parameter.shape[0]:
                raise IndexError(
                    f"{self.ours} has {parameter.shape[0]} rows, the table of names means {first} to {last}"
                )
            parameter = parameter[first:last]
        if self.view is not None:
            if torch.Size(self.view).numel() != parameter.numel():
                raise IndexError(f"{self.ours} is {list(parameter.shape)}, the table of names means {list(self.view)}")
            parameter = parameter.view(self.view)
        return parameter if self.axes is None else parameter.permute(self.axes)

    def read(self, tensor: Tensor, first: int, parameter: Tensor) -> None:
        """Copies theirs into ours.

        Args:
            tensor: rows of theirs; all of them where the line means rows of theirs.
            first: the number of the first row.
            parameter: ours, which is written to.
        """
        if self.their_rows is not None:
            mine = self.part(parameter)
            mine.copy_(tensor.flatten(0, -2)[slice(*self.their_rows)].reshape(mine.shape))
            return
        if self.order is not None:
            self.part(parameter)[list(self.order[first : first + len(tensor)])] = tensor.to(parameter.dtype)
            return
        if self.axes is not None and self.shape is not None:  # theirs lies flat, and ours is seen in another order
            mine = self.part(parameter)[first : first + len(tensor)]
            mine.copy_(tensor.reshape(mine.shape))
            return
        self._rows(parameter, first, len(tensor) if tensor.ndim else 1).copy_(tensor)

    def agrees(self, tensor: Tensor, first: int, parameter: Tensor) -> bool:
        """Whether rows of theirs, as for `read`, are what ours holds already."""
        return torch.equal(self._rows(parameter, first, len(tensor)), tensor.to(parameter.dtype))

    def _rows(self, parameter: Tensor, first: int, n: int) -> Tensor:
        """Ours in the shape of theirs, some rows of it."""
        mine = self.part(parameter)
        mine = mine.T if self.transposed else mine.view(self.shape or mine.shape)
        return mine[first : first + n] if mine.ndim else mine

    def write(self, parameter: Tensor) -> Tensor:
        """Ours as theirs; those rows of it where `their_rows` says so."""
        mine = self.part(parameter.detach())
        mine = mine.T if self.transposed else mine
        mine = mine if self.order is None else mine[list(self.order)]
        if self.their_rows is not None:
            return mine.reshape(-1, mine.shape[-1])
        return mine.reshape(self.shape or mine.shape).contiguous()


def same(ours: str, theirs: str, shape: Shape | None = None, *, also: Sequence[str] = ()) -> Iterator[Name]:
    """One tensor; `also` names the places where files repeat it."""
    yield Name(ours=ours, theirs=theirs, shape=shape, also=tuple(also))


def linear(ours: str, theirs: str, *, bias: bool = True) -> Iterator[Name]:
    """A linear map or a norm: `weight`, and `bias` where there is one."""
    yield Name(ours=f"{ours}.weight", theirs=f"{theirs}.weight")
    if bias:
        yield Name(ours=f"{ours}.bias", theirs=f"{theirs}.bias")


def transposed(ours: str, theirs: str) -> Iterator[Name]:
    """A linear map whose weight is stored `[in, out]`, as GPT-2's files do."""
    yield Name(ours=f"{ours}.weight", theirs=f"{theirs}.weight", transposed=True)
    yield Name(ours=f"{ours}.bias", theirs=f"{theirs}.bias")


def stacked(ours: str, theirs: Mapping[str, int], *, bias: bool = True) -> Iterator[Name]:
    """Several linear maps that are one below the other with us: queries, keys and values; gate and up.

    Args:
        ours: the module.
        theirs: their modules from top to bottom, each with its number of rows.
        bias: whether they have offsets.

    Example:
        >>> [name.rows for name in stacked("qkv", {"q": 4, "k": 2}, bias=False)]
        [(0, 4), (4, 6)]
    """
    first = 0
    for module, n in theirs.items():
        for kind in ("weight", "bias") if bias else ("weight",):
            yield Name(ours=f"{ours}.{kind}", theirs=f"{module}.{kind}", rows=(first, first + n))
        first += n


def ordered(ours: str, theirs: str, order: Sequence[int], *, bias: bool = True) -> Iterator[Name]:
    """A linear map whose rows stand in another order in the file.

    Args:
        ours: the module.
        theirs: the module in the file.
        order: for each row of theirs, which of ours it is.
        bias: whether it has offsets.

    Example:
        >>> [name.theirs for name in ordered("qkv", "query_key_value", by_group(2, 1, 1, head_dim=1))]
        ['query_key_value.weight', 'query_key_value.bias']
    """
    for kind in ("weight", "bias") if bias else ("weight",):
        yield Name(ours=f"{ours}.{kind}", theirs=f"{theirs}.{kind}", order=tuple(order))


def by_group(n_groups: int, *heads: int, head_dim: int) -> list[int]:
    """The rows of queries, keys and values where files put them group by group: of each group its queries, its keys,
    its values; with us all queries come first.

    Args:
        n_groups: groups of heads that share keys.
        *heads: of one group, how many heads there are of each kind.
        head_dim: rows of a head.

    Example:
        >>> by_group(2, 1, 1, 1, head_dim=1)
        [0, 2, 4, 1, 3, 5]
    """
    firsts = [n_groups * sum(heads[:kind]) for kind in range(len(heads))]
    order: list[int] = []
    for group in range(n_groups):
        for first, n in zip(firsts, heads, strict=True):
            start = (first + group * n) * head_dim
            order += range(start, start + n * head_dim)
    return order


def assemble(names: Sequence[Name], parameter: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a published file, one after the other, made from our parameters.

    Args:
        names: the table.
        parameter: gives ours by name.

    Raises:
        ValueError: rows of one of theirs are missing or twice in the table.
    """
    lines: dict[str, list[Name]] = {}
    for name in names:
        lines.setdefault(name.theirs, []).append(name)
    for theirs, parts in lines.items():
        if parts[0].their_rows is None:
            if len(parts) > 1:
                raise ValueError(f"{theirs} is twice in the table of names")
            yield theirs, parts[0].write(parameter(parts[0].ours))
            continue
        ordered = sorted(parts, key=lambda each: each.their_rows or (0, 0))
        ends = [each.their_rows or (0, 0) for each in ordered]
        if [first for first, _ in ends] != [0, *(last for _, last in ends[:-1])]:
            raise ValueError(f"the rows of {theirs} do not follow on each other in the table of names: {ends}")
        whole = torch.cat([each.write(parameter(each.ours)) for each in ordered])
        yield theirs, whole.reshape(ordered[0].shape or whole.shape)


def lines_of(
    names: Iterable[Name], model: nn.Module, architecture: str
) -> tuple[dict[str, list[Name]], dict[str, tuple[int, ...]]]:
    """The table by the names of theirs, and the shapes of theirs.

    Args:
        names: the table.
        model: whose parameters it is about.
        architecture: the class of the reference, for messages.

    Raises:
        ValueError: the model has another shape than the table says.
    """
    parameters = parameters_of(model)
    lines: dict[str, list[Name]] = {}
    expected: dict[str, tuple[int, ...]] = {}
    for line in names:
        if line.ours not in parameters:
            raise ValueError(f"this model has no {line.ours}, which a {architecture} of this {CONFIG_FILE} has")
        lines.setdefault(line.theirs, []).append(line)
        try:
            expected[line.theirs] = line.expected(parameters[line.ours])
        except IndexError as error:
            raise ValueError(f"this model is no {architecture} of this {CONFIG_FILE}: {error}") from error
    if left := sorted(set(parameters) - {line.ours for each in lines.values() for line in each}):
        raise ValueError(f"a {architecture} has no place for {brief(left)}; use omniformer.save, our own format")
    return lines, expected


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """All that is learned, or kept, each under its first name."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def brief(names: Sequence[str]) -> str:
    """The first names of a list, for messages."""
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown}, and {len(names) - 5} more"
