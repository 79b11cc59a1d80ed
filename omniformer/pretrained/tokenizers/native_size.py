"""How SigLIP 2 wants pictures in their own shape: the files of its image processor as a tokenizer of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniformer_tokenizers import PatchTokenizer, Resampling, Tokenizer

from omniformer.pretrained.tokenizers.pictures import PROCESSORS, filter_of, known_settings, moments, of_processor

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

    def made(settings: Mapping[str, Any]) -> Tokenizer:
        known = known_settings(settings, _PUBLISHED, kinds=[_KIND], default=_KIND, patch_size=patch_size)
        squares = {"squares": known["max_num_patches"], "multiple": patch_size} if known["do_resize"] else {}
        mean, std = moments(known)
        return PatchTokenizer(
            patch_size=patch_size,
            channels=channels,  # pyright: ignore[reportArgumentType]
            mean=mean,
            std=std,
            remainder="error",
            resize=Resampling(filter=filter_of(known), **squares),  # pyright: ignore[reportArgumentType]
        )

    return of_processor(folder, made)
