"""Loaded models of pictures and spectrograms behind the reference library's keywords: pixels in, outputs out."""

from dataclasses import replace
from typing import Any

import torch
from einops import rearrange, repeat
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.model import OmniFormer
from omniformer.pretrained.reference.sequences import Outputs, Reference, batch_of


class PictureReference(Reference):
    """A model of pictures: `pixel_values` in; `logits`, or what else its head makes, out.

    Args:
        model: the loaded model.
        head: the name of its head; without one the core's output is returned.
        image_size: height and width that it reads, in pixels.
        patch_size: in pixels.
        n_class_tokens: tokens in front of the patches.
    """

    def __init__(
        self, model: OmniFormer, head: str | None, *, image_size: tuple[int, int], patch_size: int, n_class_tokens: int
    ) -> None:
        super().__init__()
        self.model, self.head = model, head
        self.image_size, self.patch_size, self.n_class_tokens = image_size, patch_size, n_class_tokens

    def forward(self, *, pixel_values: Tensor) -> Outputs:
        """The reference's outputs.

        Shapes:
            pixel_values `[samples, channels, height, width]`.

        Raises:
            ValueError: the pictures are not of the size that the model reads.
        """
        return outputs(self.model, self.head, self.packed(pixel_values))

    def packed(self, pixel_values: Tensor) -> Packed:
        """Pictures of the size that the model reads, as patches behind class tokens."""
        check_size("pixel_values", tuple(pixel_values.shape[2:]), self.image_size)
        return patches(pixel_values, self.patch_size, n_class_tokens=self.n_class_tokens, modality="vision")


class MaskedPictureReference(PictureReference):
    """A model of pictures with a mask token: patches may be hidden from it.

    Arguments as for `PictureReference`.
    """

    def forward(self, *, pixel_values: Tensor, bool_masked_pos: Tensor | None = None) -> Outputs:
        """The reference's outputs.

        Shapes:
            pixel_values `[samples, channels, height, width]`, bool_masked_pos `[samples, patches]`, True where one is
            hidden.

        Raises:
            ValueError: the pictures are not of the size that the model reads.
        """
        packed = self.packed(pixel_values)
        if bool_masked_pos is not None:
            masked = nn.functional.pad(bool_masked_pos.bool(), (self.n_class_tokens, 0)).flatten()
            packed = replace(packed, features={**packed.features, "masked": masked})
        return outputs(self.model, self.head, packed)


class PartlySeenReference(PictureReference):
    """The encoder of a masked autoencoder, behind one class token: patches are left out, or all are seen.

    Args:
        model: the loaded model.
        image_size: as for `PictureReference`, like the next.
        patch_size: in pixels.
        mask_ratio: share of the patches that is left out where somebody says which.
    """

    def __init__(self, model: OmniFormer, *, image_size: tuple[int, int], patch_size: int, mask_ratio: float) -> None:
        super().__init__(model, None, image_size=image_size, patch_size=patch_size, n_class_tokens=1)
        self.mask_ratio = mask_ratio

    def forward(self, *, pixel_values: Tensor, noise: Tensor | None = None) -> Outputs:
        """The reference's outputs; without noise, which it then draws, those of all patches.

        Shapes:
            pixel_values `[samples, channels, height, width]`, noise `[samples, patches]`, of which the patches with the
            smallest numbers are seen, in the order of these.

        Raises:
            ValueError: the pictures are not of the size that the model reads.
        """
        packed = self.packed(pixel_values)
        if noise is not None:
            n_samples, n_patches = noise.shape
            seen = 1 + noise.argsort(dim=1)[:, : int(n_patches * (1 - self.mask_ratio))]
            first = torch.arange(n_samples, device=seen.device)[:, None] * (1 + n_patches)
            kept = (first + nn.functional.pad(seen, (1, 0))).flatten()
            packed = replace(
                packed,
                values=packed.values[kept],
                positions=packed.positions[kept],
                features={name: feature[kept] for name, feature in packed.features.items()},
                lengths=torch.full((n_samples,), 1 + seen.shape[1]),
            )
        return outputs(self.model, None, packed)


class SpectrogramReference(Reference):
    """A model of spectrograms cut into patches: `input_values` in, `logits` out.

    Args:
        model: the loaded model.
        head: the name of its head.
        size: frames and bands that it reads.
        patch_size: frames and bands of a patch.
        strides: frames and bands from one patch to the next.
        n_class_tokens: tokens in front of the patches.
    """

    def __init__(
        self,
        model: OmniFormer,
        head: str | None,
        *,
        size: tuple[int, int],
        patch_size: int,
        strides: tuple[int, int],
        n_class_tokens: int,
    ) -> None:
        super().__init__()
        self.model, self.head, self.size = model, head, size
        self.patch_size, self.strides, self.n_class_tokens = patch_size, strides, n_class_tokens

    def forward(self, *, input_values: Tensor) -> Outputs:
        """The reference's outputs.

        Shapes:
            input_values `[samples, time, freq]`.

        Raises:
            ValueError: the spectrograms are not of the size that the model reads.
        """
        check_size("input_values", tuple(input_values.shape[1:]), self.size)
        packed = patches(
            input_values[:, None],
            self.patch_size,
            strides=self.strides,
            n_class_tokens=self.n_class_tokens,
            modality="audio",
        )
        # Our patches follow time first, theirs frequency first: what is said of the whole sound is the same.
        return Outputs(logits=outputs(self.model, self.head, packed).logits)


def check_size(name: str, received: tuple[int, ...], expected: tuple[int, int]) -> None:
    """Refuses inputs of another height and width, or time and frequency.

    Raises:
        ValueError: as said.
    """
    if received != expected:
        raise ValueError(
            f"{name} have size {received}, this model reads {expected}; pictures of other sizes: "
            f"pretrained.load(folder, image_size={received})"
        )


def patches(
    images: Tensor,
    patch_size: int,
    *,
    strides: tuple[int, int] | None = None,
    n_class_tokens: int,
    modality: str,
) -> Packed:
    """Images of one size as packed patches behind class tokens, as tokenizers make them.

    Shapes:
        images `[samples, channels, height, width]` → values `[tokens, channels * patch_size * patch_size]`, positions
        `[tokens, 2]`, and the feature `class_token` where there are any.
    """
    down, across = strides or (patch_size, patch_size)
    windows = images.unfold(2, patch_size, down).unfold(3, patch_size, across)
    n_samples, rows, columns = len(images), windows.shape[2], windows.shape[3]
    values = rearrange(windows, "samples c rows columns h w -> samples (rows columns) (c h w)")
    values = nn.functional.pad(values, (0, 0, n_class_tokens, 0))
    cells = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).reshape(-1, 2).to(images)
    number = torch.cat([torch.arange(1, n_class_tokens + 1), torch.zeros(rows * columns, dtype=torch.long)])
    places = nn.functional.pad(cells, (0, 0, n_class_tokens, 0))
    return Packed(
        values=rearrange(values, "samples n features -> (samples n) features"),
        positions=repeat(places, "n axes -> (samples n) axes", samples=n_samples).float(),
        features={"class_token": repeat(number, "n -> (samples n)", samples=n_samples).to(images.device)}
        if n_class_tokens
        else {},
        modality=modality,
        lengths=torch.full((n_samples,), n_class_tokens + rows * columns),
    )


def outputs(model: OmniFormer, head: str | None, packed: Packed) -> Outputs:
    """What the reference returns for packed patches: the core's output, and what the head makes of it."""
    x, layout = model.encode(batch_of(packed), head)
    hidden = rearrange(x, "(samples n) d_model -> samples n d_model", samples=len(packed))
    found: dict[str, Any] = {} if head is None else dict(model.head(head).published(x, layout))
    return Outputs(**found, last_hidden_state=hidden)


def sides(key: str, value: Any) -> tuple[int, int]:
    """Height and width, which a configuration may say as one number.

    Raises:
        ValueError: they are neither one number nor two.
    """
    numbers = [value, value] if isinstance(value, int) else value
    if not isinstance(numbers, list | tuple) or len(numbers) != 2 or not all(isinstance(n, int) for n in numbers):
        raise ValueError(f"config.json has {key}={value!r}; accepted: a whole number, or height and width")
    return numbers[0], numbers[1]


def square(key: str, value: Any) -> int:
    """Height and width that must be equal.

    Raises:
        ValueError: they differ.
    """
    height, width = sides(key, value)
    if height != width:
        raise ValueError(f"config.json has {key}={value!r}; accepted: equal sides")
    return height
