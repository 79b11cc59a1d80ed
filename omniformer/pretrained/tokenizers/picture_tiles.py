"""How Idefics3 and SmolVLM want their pictures: the files of their image processors as a tokenizer of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniformer_tokenizers import TileTokenizer, Tokenizer

from omniformer.pretrained.tokenizers.pictures import PROCESSORS, filter_of, known_settings, moments, of_processor

_KINDS = ("Idefics3ImageProcessor", "SmolVLMImageProcessor")
_PUBLISHED: dict[str, Any] = PROCESSORS["SiglipImageProcessor"] | {
    "resample": 1,
    "size": {"longest_edge": 4 * 364},
    "max_image_size": {"longest_edge": 364},
    "do_image_splitting": True,
}


def picture_tile_tokenizer(
    folder: Path, *, processor: str, patch_size: int, channels: int, image_size: int, block: int
) -> dict[str, Tokenizer]:
    """The tokenizer of a folder as the one of modality vision; nothing where the folder says nothing of pictures.

    Args:
        folder: holds `preprocessor_config.json`, or `processor_config.json`.
        processor: the kind of image processor that a file means which names none.
        patch_size: of the model, in pixels.
        channels: colours of a pixel.
        image_size: height and width of the tiles that the model reads.
        block: rows and columns of patches in a token of the model.

    Raises:
        ValueError: the file is damaged, of another kind of processor, asks for something that is not known here, or
            makes tiles of another size than the model reads; names the file and the key.
    """

    def made(settings: Mapping[str, Any]) -> Tokenizer:
        known = known_settings(settings, _PUBLISHED, kinds=_KINDS, default=processor)
        mean, std = moments(known)
        tokenizer = TileTokenizer(
            patch_size=patch_size,
            block=block,
            tile=_edge("max_image_size", known["max_image_size"]),
            longest_edge=_edge("size", known["size"]) if known["do_resize"] else None,
            split=known["do_image_splitting"],
            filter=filter_of(known),  # pyright: ignore[reportArgumentType]
            channels=channels,  # pyright: ignore[reportArgumentType]
            mean=mean,
            std=std,
        )
        if tokenizer.tile != image_size:
            raise ValueError(f"max_image_size={tokenizer.tile}, config.json says image_size={image_size}")
        return tokenizer

    return of_processor(folder, made)


def _edge(key: str, value: Any) -> int:
    """The length of the longer side, as a processor says it."""
    edge = value.get("longest_edge") if isinstance(value, dict) else None
    if not isinstance(edge, int):
        raise ValueError(f"{key}={value!r}; accepted: longest_edge, in pixels")
    return edge
