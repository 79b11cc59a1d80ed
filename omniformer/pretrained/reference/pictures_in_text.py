"""Language models that read pictures among their words, behind the reference's keywords."""

from collections.abc import Sequence
from typing import Any

import torch
from omniformer_tokenizers import Tokens, interleaved, unpack
from torch import Tensor

from omniformer.batch import Sample, collate
from omniformer.model import OmniFormer
from omniformer.pretrained.reference.patches import check_size, patches
from omniformer.pretrained.reference.sequences import Outputs, Reference, padded, takes_part


class PicturesInTextReference(Reference):
    """A language model with places for pictures in its texts: `input_ids`, `attention_mask` and `pixel_values` in,
    `logits` out. As in the reference, a picture's id stands as often as it has patches.

    Args:
        model: the loaded model.
        head: the name of its head.
        placeholder: the id that stands for pictures.
        patch_size: in pixels.
        image_size: height and width that it reads, in pixels.
    """

    def __init__(
        self, model: OmniFormer, head: str, *, placeholder: int, patch_size: int, image_size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.model, self.head, self.placeholder = model, head, placeholder
        self.patch_size, self.image_size = patch_size, image_size

    def forward(
        self, *, input_ids: Tensor, attention_mask: Tensor | None = None, pixel_values: Tensor | None = None
    ) -> Outputs:
        """The reference's outputs.

        Shapes:
            input_ids and attention_mask int64 `[samples, seq]`, pixel_values `[pictures, channels, height, width]`, in
            the order in which texts have places for them.

        Raises:
            ValueError: there are more or fewer pictures than places for them, or they are of another size.
        """
        return self._outputs(input_ids, takes_part(input_ids, attention_mask), pixel_values)

    def _outputs(
        self, input_ids: Tensor, taken: Tensor, pixel_values: Tensor | None, prefixes: Sequence[int] | None = None
    ) -> Outputs:
        waiting: list[Tokens] = []
        if pixel_values is not None:
            check_size("pixel_values", tuple(pixel_values.shape[2:]), self.image_size)
            waiting = self._pictures(pixel_values)
        n_patches = len(waiting[0]) if waiting else 1
        samples = []
        for row, (ids, here) in enumerate(zip(input_ids, taken, strict=True)):
            text = self._once(ids[here], n_patches)
            n = int((text.values == self.placeholder).sum())
            own, waiting = waiting[:n], waiting[n:]
            pieces = interleaved(text, {"vision": own}, {"vision": self.placeholder})
            samples.append(Sample(id=f"row {row}", pieces=pieces, prefix=prefixes[row] if prefixes else 0))
        if waiting:
            raise ValueError(f"{len(waiting)} of pixel_values have no place in input_ids")
        x, layout = self.model.encode(collate(samples).to(input_ids.device), self.head)
        logits = self.model.heads[self.head](x, layout)
        return Outputs(logits=padded(logits, taken), last_hidden_state=padded(x, taken))

    def _pictures(self, pixel_values: Tensor) -> list[Tokens]:
        """The tokens of each picture."""
        return unpack(patches(pixel_values, self.patch_size, n_class_tokens=0, modality="vision"))

    def _once(self, ids: Tensor, n_patches: int) -> Tokens:
        """A text in which each picture has one id."""
        held = ids == self.placeholder
        nth = held.cumsum(0) - 1
        kept = ids[~held | (nth % n_patches == 0)]
        positions = torch.arange(len(kept), dtype=torch.float32, device=ids.device)[:, None]
        return Tokens(values=kept, positions=positions, modality="text")


class PrefixedPicturesReference(PicturesInTextReference):
    """The same of PaliGemma, whose `token_type_ids` are 0 where a row is given, which is read both ways, and 1 where it
    goes on.

    Args:
        model: as for `PicturesInTextReference`, like the next.
        head: the name of its head.
        longest: row that is read as in the reference, where layers have a window; None for any.
        **options: those of `PicturesInTextReference`.
    """

    def __init__(self, model: OmniFormer, head: str, *, longest: int | None = None, **options: Any) -> None:
        super().__init__(model, head, **options)
        self.longest = longest

    def forward(
        self,
        *,
        input_ids: Tensor,
        token_type_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
    ) -> Outputs:
        """The reference's outputs.

        Shapes:
            input_ids, token_type_ids and attention_mask int64 `[samples, seq]`, pixel_values `[pictures, channels,
            height, width]`, in the order in which texts have places for them.

        Raises:
            ValueError: as for `PicturesInTextReference`; or a row is given again behind what goes on, or is longer than
                the window.
        """
        taken = takes_part(input_ids, attention_mask)
        prefixes = []
        for row, (types, here) in enumerate(zip(token_type_ids, taken, strict=True)):
            kinds = types[here]
            if bool((kinds.diff() < 0).any()):
                raise ValueError(f"row {row} of token_type_ids has a 0 behind a 1; what is given stands first")
            if self.longest is not None and len(kinds) > self.longest:
                raise ValueError(f"row {row} has {len(kinds)} tokens, more than the window of {self.longest}")
            prefixes.append(int((kinds == 0).sum()))
        return self._outputs(input_ids, taken, pixel_values, prefixes)
