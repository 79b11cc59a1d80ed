"""Citation graphs as PyG's class `Planetoid` keeps them: Cora, CiteSeer, PubMed, and others in their format."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from omniformer.data.pyg_dataset import pyg
from omniformer.data.quarantine import quarantine

PREFIX = "planetoid:"
_PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")


def planetoid_columns(folder: Path, *, download: bool = False) -> dict[str, Any]:
    """The graph of a folder `<root>/<name>` with the raw files `raw/ind.<name>.*` ([Yang et al.
    2016](https://arxiv.org/abs/1603.08861)): features `x`, classes `y`, `edge_index` in the order of its first ends,
    and the masks of the public split.

    The raw files are Python pickles, which could hold any code: none of it is run (`quarantine`).

    Args:
        folder: as said.
        download: let PyG fetch the raw files where they are missing.

    Raises:
        FileNotFoundError: they are missing, and `download` is off.
        ValueError: they cannot be read; names the folder.
    """
    raw, root, name = folder / "raw", folder.parent, folder.name
    if not download and not all((raw / f"ind.{name.lower()}.{part}").is_file() for part in _PARTS):
        raise FileNotFoundError(
            f"no raw files in {str(raw)!r}; set data_root to the folder that holds them, or fetch them with "
            "download=true"
        )
    try:
        with quarantine(writable=[root]):
            data = pyg("datasets").Planetoid(root=str(root), name=name)[0]
    except (OSError, RuntimeError, ValueError, IndexError, EOFError, ImportError, UnpicklingError) as error:
        raise ValueError(f"{name} cannot be read by PyG from {root}: {error}; delete the folder and retry") from error
    source, target = data.edge_index
    order = (source * len(data.y) + target).argsort()
    masks = {split: getattr(data, f"{split}_mask").numpy() for split in ("train", "val", "test")}
    arrays = {"x": data.x.numpy(), "y": data.y.numpy(), "edge_index": data.edge_index[:, order].numpy()}
    return arrays | {f"{split}_mask": mask for split, mask in masks.items()}
