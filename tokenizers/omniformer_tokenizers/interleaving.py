"""Texts with places for other modalities: pictures in a conversation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

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
