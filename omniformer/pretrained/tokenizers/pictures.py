"""How published image models want their pictures: the files of their image processors as a tokenizer of ours."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omniformer_tokenizers import ClassTokens, PatchTokenizer, Resampling, Tokenizer

from omniformer.pretrained.files.processors import settings_of

_HALF = [0.5, 0.5, 0.5]
_COMMON = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
_CLIP: dict[str, Any] = _COMMON | {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "size": {"shortest_edge": 224},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "default_to_square": False,
}
_IMAGENET = {"image_mean": _HALF, "image_std": _HALF}
_IMAGENET_MOMENTS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
# What the reference takes a key for where the file leaves it out, by kind of processor.
PROCESSORS: dict[str, dict[str, Any]] = {
    "ViTImageProcessor": _COMMON
    | _IMAGENET
    | {"size": {"height": 224, "width": 224}, "resample": 2, "do_center_crop": False, "default_to_square": True},
    "DeiTImageProcessor": _COMMON
    | _IMAGENET
    | {
        "size": {"height": 256, "width": 256},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "default_to_square": True,
    },
    "BeitImageProcessor": _COMMON
    | _IMAGENET
    | {
        "size": {"height": 224, "width": 224},
        "resample": 3,
        "do_center_crop": False,
        "crop_size": {"height": 224, "width": 224},
        "default_to_square": True,
    },
    "CLIPImageProcessor": _CLIP,
    "BitImageProcessor": _CLIP,
    "DINOv3ViTImageProcessor": _COMMON
    | _IMAGENET_MOMENTS
    | {"size": {"height": 224, "width": 224}, "resample": 2, "do_center_crop": False, "default_to_square": True},
    "SiglipImageProcessor": _COMMON
    | _IMAGENET
    | {"size": {"height": 224, "width": 224}, "resample": 3, "do_center_crop": False, "default_to_square": False},
}
# Those that make floats of pixels before they resize.
_UNROUNDED = ("DINOv3ViTImageProcessor",)
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
# Options of other processors that change pixels.
_REFUSED = ("do_pad", "pad_size", "do_flip_channel_order", "do_thumbnail", "do_align_long_axis", "crop_pct")


def picture_tokenizer(
    folder: Path,
    *,
    processor: str,
    patch_size: int,
    channels: int,
    image_size: tuple[int, int],
    n_class_tokens: int = 1,
    chosen: bool = False,
) -> dict[str, Tokenizer]:
    """The tokenizer of a folder as the one of modality vision; nothing where the folder says nothing of pictures.

    Args:
        folder: holds `preprocessor_config.json`, or `processor_config.json`.
        processor: the kind of image processor that a file means which names none.
        patch_size: of the model, in pixels.
        channels: colours of a pixel.
        image_size: height and width that the model reads.
        n_class_tokens: tokens of the model in front of the patches.
        chosen: whether somebody chose that size, so that pictures are brought to it; else the files must agree.

    Raises:
        ValueError: the file is damaged, of another kind of processor, asks for something that is not known here, or
            makes pictures of another size than the model reads; names the file and the key.
    """

    def made(settings: Mapping[str, Any]) -> Tokenizer:
        resampling, mean, std = _described(settings, processor)
        if chosen:
            resampling = resampling.giving(*image_size)
        elif resampling.output not in (None, image_size):
            raise ValueError(
                f"its pictures have height and width {resampling.output}, those of config.json {image_size}; choose by "
                f"loading with image_size={resampling.output}"
            )
        tokenizer = PatchTokenizer(
            patch_size=patch_size,
            channels=channels,  # pyright: ignore[reportArgumentType]
            mean=mean,
            std=std,
            remainder="crop",  # as a convolution leaves out the rows and columns that make no whole patch
            resize=resampling,
        )
        return ClassTokens(tokenizer=tokenizer, n=n_class_tokens) if n_class_tokens else tokenizer

    return of_processor(folder, made)


def of_processor(folder: Path, made: Callable[[Mapping[str, Any]], Tokenizer]) -> dict[str, Tokenizer]:
    """The tokenizer of a folder as the one of modality vision; nothing where the folder says nothing of pictures.

    Args:
        folder: holds `preprocessor_config.json`, or `processor_config.json`.
        made: what makes a tokenizer of the settings of an image processor.

    Raises:
        ValueError: the file is damaged, or says what `made` refuses; names the file.
    """
    found = settings_of(folder, "image_processor")
    if found is None:
        return {}
    path, settings = found
    try:
        return {"vision": made(settings)}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def known_settings(
    settings: Mapping[str, Any], published: Mapping[str, Any], *, kinds: Sequence[str], default: str, **sizes: int
) -> dict[str, Any]:
    """What an image processor says, and what the reference takes it for where it says nothing.

    Args:
        settings: of the file.
        published: what the reference takes a key for which the file leaves out.
        kinds: of processors that are read so.
        default: the kind that a file means which names none.
        **sizes: of the model, by the processor's names for them.

    Raises:
        ValueError: it is of another kind, or makes other patches than the model reads.

    Example:
        >>> kind = "ViTImageProcessor"
        >>> known_settings({"resample": None}, {"resample": 2}, kinds=[kind], default=kind)
        {'resample': 2}
    """
    if (kind := kind_of(settings, default)) not in kinds:
        raise ValueError(f"image_processor_type={kind!r}; accepted: {', '.join(kinds)}")
    known = {**published, **{key: value for key, value in settings.items() if value is not None}}
    for key, own in sizes.items():
        if known[key] != own:
            raise ValueError(f"{key}={known[key]}, config.json says {own}: it is the processor of another model")
    return known


def _described(settings: Mapping[str, Any], processor: str) -> tuple[Resampling, tuple[float, ...], tuple[float, ...]]:
    """How pictures are resized, and what is subtracted from pixels of 0..1 and what they are divided by."""
    plain = kind_of(settings, processor)
    if plain not in PROCESSORS:
        raise ValueError(f"image_processor_type={plain!r}; accepted: {', '.join(PROCESSORS)}")
    known = PROCESSORS[plain] | {key: value for key, value in settings.items() if value is not None}
    for key in _REFUSED:
        if known.get(key):
            raise ValueError(f"{key}={known[key]!r} is not supported; accepted: false, or nothing")
    size = _size("size", known["size"], square=known["default_to_square"]) if known["do_resize"] else {}
    crop = _size("crop_size", known.get("crop_size"), square=True) if known["do_center_crop"] else {}
    if "shortest_edge" in crop:
        raise ValueError(f"crop_size={known['crop_size']!r}; accepted: a number, or height and width")
    rounded = plain not in _UNROUNDED
    resampling = Resampling(filter=filter_of(known), crop=crop.get("size"), rounded=rounded, **size)  # pyright: ignore
    return resampling, *moments(known)


def kind_of(settings: Mapping[str, Any], default: str) -> str:
    """The kind of an image processor, by the name that it has without its age and speed.

    Example:
        >>> kind_of({"feature_extractor_type": "ViTFeatureExtractor"}, "CLIPImageProcessor")
        'ViTImageProcessor'
    """
    kind = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or default)
    return kind.removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")


def filter_of(known: Mapping[str, Any]) -> str:
    """The filter that a processor resamples with.

    Raises:
        ValueError: there is no such filter here.
    """
    if known["resample"] not in _FILTERS:
        named = ", ".join(f"{number} ({name})" for number, name in _FILTERS.items())
        raise ValueError(f"resample={known['resample']!r}; accepted: {named}")
    return _FILTERS[known["resample"]]


def moments(known: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What is subtracted from pixels of 0..1, and what they are divided by, of a processor that says everything."""
    # What the reference does to a pixel p of 0..255: (p * factor - mean) / std. Ours begins at p / 255.
    share = 1 / (255 * (known["rescale_factor"] if known["do_rescale"] else 1))
    mean, std = (known["image_mean"], known["image_std"]) if known["do_normalize"] else (0.0, 1.0)
    first, second = (tuple(number * share for number in _numbers(each)) for each in (mean, std))
    return first, second


def _size(key: str, value: Any, *, square: bool) -> dict[str, Any]:
    """A size as an argument of `Resampling`."""
    if isinstance(value, Mapping):
        value = {name: number for name, number in value.items() if number is not None}
        if set(value) == {"height", "width"}:
            return {"size": (value["height"], value["width"])}
        if set(value) == {"shortest_edge"}:
            return {"shortest_edge": value["shortest_edge"]}
    elif isinstance(value, int):
        return {"size": (value, value)} if square else {"shortest_edge": value}
    elif isinstance(value, Sequence) and len(value) == 2:
        return {"size": tuple(value)}
    raise ValueError(f"{key}={value!r}; accepted: a number, height and width, or shortest_edge alone")


def _numbers(value: Any) -> list[float]:
    return [float(each) for each in (value if isinstance(value, Sequence) else [value])]
