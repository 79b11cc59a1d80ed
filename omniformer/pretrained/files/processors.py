"""How pictures and sounds of published models are prepared: one section of the files beside their weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from omniformer_tokenizers import Resampling

from omniformer.pretrained.files.checkpoint import read_json

Section = Literal["image_processor", "feature_extractor"]
_OLD, _NEW = "preprocessor_config.json", "processor_config.json"


def settings_of(folder: Path, section: Section) -> tuple[Path, dict[str, Any]] | None:
    """The settings of a processor, and the file in which they stand; None where the folder says nothing of it.

    Older folders have a file of these settings alone, `preprocessor_config.json`. Newer ones may have only
    `processor_config.json`, with a section for each processor.

    Args:
        folder: of the model.
        section: of the newer file.

    Raises:
        ValueError: a file is damaged.
    """
    if (path := folder / _OLD).is_file():
        return path, read_json(path)
    if (path := folder / _NEW).is_file() and isinstance(settings := read_json(path).get(section), dict):
        return path, settings
    return None


def at_size(files: Mapping[str, bytes], resampling: Resampling) -> dict[str, bytes]:
    """The files of processors, by name, for pictures that are resampled so: those of the others as they are.

    Args:
        files: what lies beside weights.
        resampling: how a tokenizer resamples.
    """
    height_and_width = ("height", "width")
    said: dict[str, Any] = {"do_resize": False, "do_center_crop": resampling.crop is not None}
    if resampling.size is not None:
        said |= {"do_resize": True, "size": dict(zip(height_and_width, resampling.size, strict=True))}
    elif resampling.shortest_edge is not None:
        said |= {"do_resize": True, "size": {"shortest_edge": resampling.shortest_edge}}
    if resampling.crop is not None:
        said["crop_size"] = dict(zip(height_and_width, resampling.crop, strict=True))
    changed = dict(files)
    for name in {_OLD, _NEW} & set(files):
        content = json.loads(files[name])
        settings = content if name == _OLD else content.get("image_processor")
        if isinstance(settings, dict):
            settings.update(said)
        changed[name] = (json.dumps(content, indent=2) + "\n").encode()
    return changed
