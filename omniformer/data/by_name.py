"""Known data sets by name, outside of a run."""

from typing import Any

from omegaconf import OmegaConf

from omniformer.config import build
from omniformer.config.folder import conf_dir
from omniformer.data.source import Source


def known(name: str, *, data_root: str | None = None, **options: Any) -> Source:
    """The source of a set that `conf/data` describes, as `data=<name>` has it.

    Args:
        name: of its file.
        data_root: the folder of data sets; None means the current folder.
        options: what to set of its `source`, such as `download=True`.

    Raises:
        ValueError: there is no such set; lists those that there are.

    Example:
        >>> known("digits").labels[:3], len(known("karate").split("train"))
        (('0', '1', '2'), 1)
    """
    return build(described(name, data_root=data_root) | options, "data.source")


def described(name: str, *, data_root: str | None = None) -> dict[str, Any]:
    """What `conf/data` says of the source of a known set; arguments and errors as for `known`."""
    folder = conf_dir() / "data"
    if not (folder / f"{name}.yaml").is_file():
        raise ValueError(f"there is no data set {name!r}; known are {', '.join(names())}")
    whole = OmegaConf.create({"data_root": data_root, "data": OmegaConf.load(folder / f"{name}.yaml")})
    config: Any = OmegaConf.to_container(whole, resolve=True)
    return config["data"]["source"]


def names() -> list[str]:
    """The names of all sets that need no file of one's own.

    Example:
        >>> "esol" in names(), "image_folder" in names()
        (True, False)
    """
    files = sorted((conf_dir() / "data").glob("*.yaml"))
    return [file.stem for file in files if "???" not in file.read_text(encoding="utf-8") and file.stem != "table"]
