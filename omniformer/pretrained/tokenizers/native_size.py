"""How SigLIP 2 wants pictures in their own shape: the files of its image processor as a tokenizer of ours."""

from pathlib import Path
from typing import Any

from omniformer_tokenizers import PatchTokenizer, Resampling, Tokenizer

from omniformer.pretrained.files.processors import settings_of
from omniformer.pretrained.tokenizers.pictures import PROCESSORS, filter_of, kind_of, moments

_KIND = "Siglip2ImageProcessor"
_PUBLISHED: dict[str, Any] = PROCESSORS["SiglipImageProcessor"] | {
    "resample": 2,
    "patch_size": 16,
    "max_num_patches": 256,
}


def native_size_tokenizer(folder: Path, *, patch_size: int, channels: int) -> dict[str, Tokenizer]:
    """The tokenizer of a folder as the one of modality vision; nothing where the folder says nothing of pictures.

    Args:
        folder: holds `preprocessor_config.json`, or `processor_config.json`.
        patch_size: of the model, in pixels.
        channels: colours of a pixel.

    Raises:
        ValueError: the file is damaged, of another kind of processor, asks for something that is not known here, or
            makes other patches than the model reads; names the file and the key.
    """
    found = settings_of(folder, "image_processor")
    if found is None:
        return {}
    path, settings = found
    try:
        if (kind := kind_of(settings, _KIND)) != _KIND:
            raise ValueError(f"image_processor_type={kind!r}; accepted: {_KIND}")
        known = _PUBLISHED | {key: value for key, value in settings.items() if value is not None}
        if known["patch_size"] != patch_size:
            size = known["patch_size"]
            raise ValueError(f"patch_size={size}, config.json says {patch_size}: it is the processor of another model")
        squares = {"squares": known["max_num_patches"], "multiple": patch_size} if known["do_resize"] else {}
        mean, std = moments(known)
        tokenizer = PatchTokenizer(
            patch_size=patch_size,
            channels=channels,  # pyright: ignore[reportArgumentType]
            mean=mean,
            std=std,
            remainder="error",
            resize=Resampling(filter=filter_of(known), **squares),  # pyright: ignore[reportArgumentType]
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return {"vision": tokenizer}
