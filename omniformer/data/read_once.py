"""Pictures that are read once, and kept as small as their tokenizer makes them, to be changed in every epoch."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import torch
from omniformer_tokenizers import Tokenizer

from omniformer.data.remote import Remote
from omniformer.data.source import Raw

_AXES = 3  # channels, height, width


class ReadOnce(Sequence[Raw]):
    """The samples of another sequence; their pictures are decoded and resized when they are first asked for, and kept
    as bytes: a photo of 12 megapixels takes a second to be decoded and changed at random, one of 64 x 64 a fifth of a
    millisecond to be changed.

    A picture that cannot be read stays as it is, so that whoever makes tokens of it tells.

    Args:
        raws: the samples.
        tokenizers: by modality; those of the pictures bring them all to one size.
        modalities: of the pictures that are kept.

    Raises:
        ValueError: a tokenizer leaves pictures of differing sizes, or reads no pictures.

    Example:
        >>> from omniformer_tokenizers import PatchTokenizer
        >>> photo = Raw(id="a", contents={"vision": torch.zeros(3, 480, 640, dtype=torch.uint8)})
        >>> tokenizer = PatchTokenizer(patch_size=16, image_size=64)
        >>> ReadOnce([photo], {"vision": tokenizer}, ["vision"])[0].contents["vision"].shape
        torch.Size([3, 64, 64])
    """

    def __init__(self, raws: Sequence[Raw], tokenizers: Mapping[str, Tokenizer], modalities: Collection[str]) -> None:
        for name in modalities:
            shape = tokenizers[name].stack_shape
            if shape is None or len(shape) != _AXES or None in shape:
                raise ValueError(
                    f"cache=True with augment keeps pictures of one size, to which the tokenizer of {name!r} does not "
                    "bring them; set its image_size, or cache=False"
                )
        self.raws = raws
        self.tokenizers = {name: tokenizers[name] for name in modalities}
        self._kept: dict[int, Raw] = {}

    def __len__(self) -> int:
        return len(self.raws)

    @overload
    def __getitem__(self, index: int) -> Raw: ...
    @overload
    def __getitem__(self, index: slice) -> "list[Raw]": ...
    def __getitem__(self, index: int | slice) -> "Raw | list[Raw]":
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if index not in self._kept:
            self._kept[index] = self._read(self.raws[index])
        return self._kept[index]

    def _read(self, raw: Raw) -> Raw:
        try:
            return replace(raw, contents=self._small(raw.contents), answer=self._small(raw.answer))
        except (ValueError, TypeError, OSError, EOFError):
            return raw

    def _small(self, contents: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(contents)
        for name in self.tokenizers.keys() & found.keys():
            content = found[name].read() if isinstance(found[name], Remote) else found[name]
            pixels = self.tokenizers[name].stackable(content)
            found[name] = pixels if pixels.dtype == torch.uint8 else (pixels * 255).round().to(torch.uint8)
        return found
