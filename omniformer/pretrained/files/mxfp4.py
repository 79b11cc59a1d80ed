"""Weights of four bits with a scale for every 32 of them, as gpt-oss is published, unpacked while they are read
([OCP 2023](https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf), MXFP4).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from omniformer.pretrained.files.checkpoint import Checkpoint

_BLOCKS, _SCALES = "_blocks", "_scales"
# What the four bits mean: sign, two bits of exponent, one of mantissa.
_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


class Mxfp4Checkpoint(Checkpoint):
    """The tensors of a published model, of which some lie in the file as `<name>_blocks` and `<name>_scales`; they are
    handed out as `<name>` in bfloat16, which holds all of their values exactly.

    Args:
        source: as for `Checkpoint`.

    Raises:
        FileNotFoundError: as for `Checkpoint`.
        ValueError: as for `Checkpoint`, or blocks have no scales of their shape.
    """

    def __init__(self, source: Path) -> None:
        super().__init__(source)
        self._packed = Checkpoint(source)
        for blocks in [name for name in self.where if name.endswith(_BLOCKS)]:
            name = blocks.removesuffix(_BLOCKS)
            path, shape = self.where.pop(blocks), self.shapes.pop(blocks)
            if self.shapes.get(name + _SCALES) != shape[:-1] or len(shape) != 4:
                raise ValueError(f"{path} holds {blocks} {list(shape)} without {name}{_SCALES} {list(shape[:-1])}")
            for table in (self.where, self.shapes, self.dtypes):
                table.pop(name + _SCALES)
            experts, rows, groups, half = shape
            self.where[name], self.shapes[name] = path, (experts, groups * half * 2, rows)
            self.dtypes[name] = torch.bfloat16
            self.dtypes.pop(blocks)

    def pieces(self, names: Iterable[str], *, whole: Iterable[str] = ()) -> Iterator[tuple[str, int, Tensor]]:
        wanted = set(names)
        packed = {name for name in wanted if name + _BLOCKS in self._packed.where}
        yield from self._packed.pieces(wanted - packed, whole=whole)
        for name in sorted(packed):
            pair = name + _BLOCKS, name + _SCALES
            found = {each: rows for each, _, rows in self._packed.pieces(pair, whole=pair)}
            yield name, 0, unpacked(found[pair[0]], found[pair[1]])


def unpacked(blocks: Tensor, scales: Tensor) -> Tensor:
    """The numbers of blocks of four bits.

    Shapes:
        uint8 `[experts, out, groups, 16]` and uint8 `[experts, out, groups]` → bfloat16 `[experts, in, out]`.

    Example:
        >>> blocks = torch.tensor([0x21, 0xF0] + [0] * 14, dtype=torch.uint8).view(1, 1, 1, 16)
        >>> unpacked(blocks, torch.tensor([[[128]]], dtype=torch.uint8)).flatten()[:4].tolist()
        [1.0, 2.0, 0.0, -12.0]
    """
    values = torch.tensor([*_VALUES, *(-value for value in _VALUES)], dtype=torch.bfloat16)
    found = [
        torch.ldexp(torch.stack([values[(each & 0x0F).int()], values[(each >> 4).int()]], dim=-1).flatten(-2), exponent)
        for each, exponent in zip(blocks, scales.int()[..., None] - 127, strict=True)
    ]
    return torch.stack([each.to(torch.bfloat16).flatten(1).T for each in found])
