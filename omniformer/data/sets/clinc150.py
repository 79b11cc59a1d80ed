"""CLINC150: what a user wants of an assistant, and queries that are none of its business."""

from omniformer.data.table import Table

FILE = "clinc150/data_full.json"
URL = "https://raw.githubusercontent.com/clinc/oos-eval/828f8093932c8fe6ca7936c3d2e52903b1c523de/data/data_full.json"
SHA256 = "36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0"
OUT_OF_SCOPE = "oos"


class Clinc150(Table):
    """Queries to an assistant with 150 intents (Larson et al. 2019, https://aclanthology.org/D19-1131), official split:
    a table over `clinc150/data_full.json`, also gzip-ed.

    Args:
        data_root: the folder that holds `clinc150`; None means the current folder.
        download: fetch the file where it is missing; off, so that no run reaches out unasked.
        out_of_scope: whether the out-of-scope queries take part in all splits, as the last class `oos`, as in the
            paper's main table; without them there are 150 classes.

    Raises:
        FileNotFoundError: there is no file, and `download` is off.
        ValueError: the file is damaged, or a text is empty; names file and entry.

    Example:
        >>> Clinc150(data_root="data", out_of_scope=False).name
        'clinc150'
    """

    def __init__(self, *, data_root: str | None = None, download: bool = False, out_of_scope: bool = True) -> None:
        kinds = ("", "oos_") if out_of_scope else ("",)
        train, val, test = ([f"{FILE}::{kind}{split}" for kind in kinds] for split in ("train", "val", "test"))
        super().__init__(
            train=train,
            val=val,
            test=test,
            names=["text", "intent"],
            columns={"text": "text", "intent": "label"},
            labels=["...", OUT_OF_SCOPE] if out_of_scope else None,
            ids="clinc150/{part}/{row}",
            fetch={FILE: f"{URL} {SHA256}"},
            data_root=data_root,
            download=download,
        )
