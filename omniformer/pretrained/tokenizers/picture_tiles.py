"""How Idefics3 and SmolVLM want their pictures: the files of their image processors as a tokenizer of ours."""

from pathlib import Path
from typing import Any

from omniformer_tokenizers import TileTokenizer, Tokenizer

from omniformer.pretrained.files.processors import settings_of
from omniformer.pretrained.tokenizers.pictures import PROCESSORS, filter_of, kind_of, moments

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
    found = settings_of(folder, "image_processor")
    if found is None:
        return {}
    path, settings = found
    kinds = ("Idefics3ImageProcessor", "SmolVLMImageProcessor")
    try:
        if (kind := kind_of(settings, processor)) not in kinds:
            raise ValueError(f"image_processor_type={kind!r}; accepted: {', '.join(kinds)}")
        known = _PUBLISHED | {key: value for key, value in settings.items() if value is not None}
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
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return {"vision": tokenizer}


def _edge(key: str, value: Any) -> int:
    """The length of the longer side, as a processor says it."""
    edge = value.get("longest_edge") if isinstance(value, dict) else None
    if not isinstance(edge, int):
        raise ValueError(f"{key}={value!r}; accepted: longest_edge, in pixels")
    return edge
