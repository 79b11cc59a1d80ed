"""Texts with places for other modalities: pictures in a conversation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from omniformer_tokenizers.tokens import Tokens


def interleaved(text: Tokens, others: Mapping[str, Sequence[Tokens]], placeholders: Mapping[str, int]) -> list[Tokens]:
    """The pieces of a sample: its text, cut at each placeholder, which gives its place to what it stands for.

    Places of the text count its own tokens alone. Stretches without tokens are left out.

    Args:
        text: ids.
        others: what stands in it by modality, in order.
        placeholders: the id that stands for one of a modality, such as that of `<image>`.

    Raises:
        ValueError: there are more or fewer of a modality than places for it.

    Example:
        >>> import torch
        >>> words = Tokens(values=torch.tensor([7, 0, 9]), positions=torch.arange(3.0)[:, None], modality="text")
        >>> picture = Tokens(values=torch.zeros(4, 2), positions=torch.zeros(4, 2), modality="vision")
        >>> [(each.modality, len(each)) for each in interleaved(words, {"vision": [picture]}, {"vision": 0})]
        [('text', 1), ('vision', 4), ('text', 1)]
    """
    ids = text.values.tolist()
    for modality in sorted({*others, *placeholders}):
        n, given = ids.count(placeholders.get(modality)), len(others.get(modality, ()))
        if n != given:
            raise ValueError(
                f"the text has {n} places for {modality}, received {given} of it: give one for each place, which in a "
                'conversation is a part of a message, {"type": "image"}'
            )
    waiting = {placeholders[modality]: iter(each) for modality, each in others.items()}
    found: list[Tokens] = []
    first = kept = 0
    for place, i in enumerate([*ids, None]):
        if i is not None and i not in waiting:
            continue
        n = place - first
        stretch = replace(
            text,
            values=text.values[first:place],
            positions=text.positions[kept : kept + n],
            features={name: rows[first:place] for name, rows in text.features.items()},
        )
        found += [stretch, *([] if i is None else [next(waiting[i])])]
        first, kept = place + 1, kept + n
    return [piece for piece in found if len(piece)]


def tiles_apart(
    text: Tokens, pictures: Sequence[Tokens], placeholder: int, spelled: Callable[[int, int], Sequence[int]]
) -> tuple[Tokens, list[Tokens]]:
    """A text with the words that stand around the tiles of its pictures, and a placeholder for each tile; and the tiles
    one by one (Laurençon et al. 2024, Idefics3, 2.2).

    Where there are more or fewer pictures than places, nothing is changed: `interleaved` then says so.

    Args:
        text: ids, with one placeholder for each picture.
        pictures: as `TileTokenizer` makes them.
        placeholder: the id that stands for a picture, and then for a tile.
        spelled: the ids around the tiles of so many rows and columns, 0 for a picture that is one tile.

    Example:
        >>> import torch
        >>> from omniformer_tokenizers import TileTokenizer
        >>> words = Tokens(values=torch.tensor([7, 0]), positions=torch.arange(2.0)[:, None], modality="text")
        >>> picture = TileTokenizer(patch_size=4, block=1, tile=4)(torch.zeros(3, 4, 8))
        >>> text, tiles = tiles_apart(words, [picture], 0, lambda rows, columns: [5, 0, 5, 0, 6, 0])
        >>> text.values.tolist(), len(tiles)
        ([7, 5, 0, 5, 0, 6, 0], 3)
    """
    held = text.values == placeholder
    if int(held.sum()) != len(pictures):
        return text, list(pictures)
    spellings = [torch.tensor(spelled(*each.facts["tiles"].tolist()), dtype=torch.long) for each in pictures]
    lengths = torch.ones_like(text.values)
    lengths[held] = torch.tensor([len(each) for each in spellings], dtype=torch.long)
    source = torch.repeat_interleave(lengths)
    values = text.values[source]
    values[held[source]] = torch.cat([values[:0], *spellings])
    features = {name: rows[source] for name, rows in text.features.items()}
    positions = torch.arange(len(values), dtype=text.positions.dtype)[:, None]
    tiles = [tile for each in pictures for tile in _by_tile(each)]
    return replace(text, values=values, positions=positions, features=features), tiles


def _by_tile(picture: Tokens) -> list[Tokens]:
    """The tokens of each tile of a picture."""
    counts = picture.positions[:, 0].long().bincount().tolist()
    return [
        Tokens(values=values, positions=positions, modality=picture.modality)
        for values, positions in zip(picture.values.split(counts), picture.positions.split(counts), strict=True)
    ]
