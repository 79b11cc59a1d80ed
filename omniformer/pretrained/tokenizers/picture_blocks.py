"""How models of pictures of any size want them: Qwen2-VL's image processor as a tokenizer of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniformer_tokenizers import PatchBlockTokenizer, Resampling, Tokenizer

from omniformer.pretrained.tokenizers.pictures import PROCESSORS, filter_of, known_settings, moments, of_processor

_KIND = "Qwen2VLImageProcessor"
_PUBLISHED: dict[str, Any] = PROCESSORS["SiglipImageProcessor"] | {
    "image_mean": PROCESSORS["CLIPImageProcessor"]["image_mean"],
    "image_std": PROCESSORS["CLIPImageProcessor"]["image_std"],
    "size": {},
    "patch_size": 14,
    "merge_size": 2,
    "temporal_patch_size": 2,
}
_AREA = (56 * 56, 28 * 28 * 1280)


def picture_block_tokenizer(
    folder: Path, *, patch_size: int, channels: int, block: int, frames: int
) -> dict[str, Tokenizer]:
    """The tokenizer of a folder as the one of modality vision; nothing where the folder says nothing of pictures.

    Args:
        folder: holds `preprocessor_config.json`, or `processor_config.json`.
        patch_size: of the model, in pixels.
        channels: colours of a pixel.
        block: rows and columns of patches in a token of the model.
        frames: of a tubelet of the model, as which a picture is repeated.

    Raises:
        ValueError: the file is damaged, of another kind of processor, asks for something that is not known here, or
            makes other patches than the model reads; names the file and the key.
    """

    def made(settings: Mapping[str, Any]) -> Tokenizer:
        sizes = {"patch_size": patch_size, "merge_size": block, "temporal_patch_size": frames}
        known = known_settings(settings, _PUBLISHED, kinds=[_KIND], default=_KIND, **sizes)
        area = {"area": _area(known), "multiple": patch_size * block} if known["do_resize"] else {}
        mean, std = moments(known)
        return PatchBlockTokenizer(
            patch_size=patch_size,
            block=block,
            frames=frames,
            channels=channels,  # pyright: ignore[reportArgumentType]
            mean=mean,
            std=std,
            resize=Resampling(filter=filter_of(known), **area),  # pyright: ignore[reportArgumentType]
        )

    return of_processor(folder, made)


def _area(known: Mapping[str, Any]) -> tuple[int, int]:
    """Least and most pixels, under the names of old files and of new ones."""
    size = known.get("size") or {}
    least = known.get("min_pixels") or size.get("shortest_edge") or _AREA[0]
    most = known.get("max_pixels") or size.get("longest_edge") or _AREA[1]
    return least, most
