"""Language models that read pictures of any size among their words, behind the reference's keywords."""

import torch
from omniformer_tokenizers import Tokens, interleaved
from torch import Tensor

from omniformer.batch import Sample, collate
from omniformer.model import OmniFormer
from omniformer.pretrained.reference.sequences import Outputs, Reference, padded, takes_part


class GridsInTextReference(Reference):
    """A language model with places for pictures in its texts: `input_ids`, `attention_mask`, `pixel_values` and
    `image_grid_thw` in, `logits` out. As in the reference, a picture's id stands as often as it has blocks of patches.

    Where the reference is not given `mm_token_type_ids`, it numbers patches as words; here ids say what they are.

    Args:
        model: the loaded model.
        head: the name of its head.
        placeholder: the id that stands for pictures.
        block: rows and columns of patches in a token.
    """

    def __init__(self, model: OmniFormer, head: str, *, placeholder: int, block: int) -> None:
        super().__init__()
        self.model, self.head, self.placeholder, self.block = model, head, placeholder, block

    def forward(
        self,
        *,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        mm_token_type_ids: Tensor | None = None,
    ) -> Outputs:
        """The reference's outputs.

        Shapes:
            input_ids, attention_mask and mm_token_type_ids int64 `[samples, seq]`, pixel_values `[patches, features]`
            of all pictures in the order in which texts have places for them, image_grid_thw int64 `[pictures, 3]`:
            frames, rows and columns of their patches.

        Raises:
            ValueError: pictures, their sizes and their places do not go together, or `mm_token_type_ids` says otherwise
                than `input_ids`.
        """
        taken = takes_part(input_ids, attention_mask)
        if mm_token_type_ids is not None:
            differs = (mm_token_type_ids != (input_ids == self.placeholder).long()) & taken
            if bool(differs.any()):
                raise ValueError(
                    f"mm_token_type_ids must be 1 where input_ids hold {self.placeholder}, a picture, and 0 elsewhere; "
                    "videos are not read here"
                )
        pictures = self._pictures(pixel_values, image_grid_thw)
        used, samples = 0, []
        for row, (ids, here) in enumerate(zip(input_ids, taken, strict=True)):
            text, n = self._once(ids[here], [len(each) for each in pictures[used:]], row)
            own, used = pictures[used : used + n], used + n
            pieces = interleaved(text, {"vision": own}, {"vision": self.placeholder})
            samples.append(Sample(id=f"row {row}", pieces=pieces))
        if used < len(pictures):
            raise ValueError(f"{len(pictures) - used} of pixel_values have no place in input_ids")
        x, layout = self.model.encode(collate(samples).to(input_ids.device), self.head)
        logits = self.model.heads[self.head](x, layout)
        return Outputs(logits=padded(logits, taken), last_hidden_state=padded(x, taken))

    def _pictures(self, pixel_values: Tensor | None, grids: Tensor | None) -> list[Tokens]:
        """The blocks of each picture."""
        if pixel_values is None and grids is None:
            return []
        n_patches = 0 if grids is None else int(grids.prod(1).sum())
        if pixel_values is None or grids is None or len(pixel_values) != n_patches:
            received = None if pixel_values is None else len(pixel_values)
            raise ValueError(f"image_grid_thw names {n_patches} patches, pixel_values holds {received}; give both")
        found, first = [], 0
        for frames, rows, columns in grids.tolist():
            n = frames * rows * columns
            cells = (torch.arange(frames), torch.arange(rows // self.block), torch.arange(columns // self.block))
            places = torch.cartesian_prod(*cells).float().to(pixel_values.device)
            values = pixel_values[first : first + n].reshape(len(places), -1)
            found.append(Tokens(values=values, positions=places, modality="vision"))
            first += n
        return found

    def _once(self, ids: Tensor, sizes: list[int], row: int) -> tuple[Tokens, int]:
        """A text in which each picture has one id, and how many pictures it has."""
        held, kept, place, n = (ids == self.placeholder).tolist(), [], 0, 0
        while place < len(held):
            kept.append(place)
            size = 1
            if held[place]:
                size = sizes[n] if n < len(sizes) else 0
                if not size or held[place : place + size] != [True] * size:
                    at = held[place:].index(False) if False in held[place:] else len(held) - place
                    raise ValueError(
                        f"row {row} of input_ids has {at} places for a picture of {size} blocks of patches"
                    )
                n += 1
            place += size
        values = ids[kept]
        positions = torch.arange(len(kept), dtype=torch.float32, device=ids.device)[:, None]
        return Tokens(values=values, positions=positions, modality="text"), n
