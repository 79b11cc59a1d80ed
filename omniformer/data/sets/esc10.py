"""Ten kinds of sounds around us."""

from functools import cached_property

import numpy as np

from omniformer.core.ranges import Natural
from omniformer.data.source import Split
from omniformer.data.table import Table
from omniformer.data.table.rows import Row

FOLDS = 5
CLASSES = (
    "dog bark",
    "rain",
    "sea waves",
    "baby cry",
    "clock tick",
    "person sneeze",
    "helicopter",
    "chainsaw",
    "rooster",
    "fire crackling",
)
PACKED = "esc10/esc10_ogg_16k.zip"
COMMIT = "553c8f1743b9dba6b282e1323c3ca8fa76923448"
ORIGINAL = f"esc10/ESC-10-{COMMIT}.zip"
URL = f"https://github.com/karoldvl/ESC-10/archive/{COMMIT}.zip"


class ESC10(Table):
    """Five seconds each of dogs, rain, sea waves, babies, clocks, sneezes, helicopters, chainsaws, roosters and fires
    ([Piczak 2015](https://doi.org/10.1145/2733373.2806390), ESC-10, CC BY 3.0): a table over an archive, of which the
    name of a folder is the class, and of a file `<fold>-<clip>-<take>.ogg`.

    Read is `esc10/esc10_ogg_16k.zip`, in which every clip was encoded anew at 16 kHz and brought to 5 s, or else the
    archive of the repository, which is what is fetched. Both give the same ids, order, splits and labels, but not the
    same sound: the original has 44.1 kHz, and the encoding loses something. Compare scores only within one of them.

    Args:
        data_root: the folder in which `esc10` lies; None means the current folder.
        download: fetch the archive of the repository where neither file is there.
        fold: this fold tests (80 clips), the one before it validates (80; 5 comes before 1), the others train (240).

    Raises:
        FileNotFoundError: there is no archive, and `download` is off.
        ValueError: no such fold, or a file that cannot be read or is of no known class; names archive and file.

    Example:
        >>> ESC10(fold=1).labels[0]
        'dog bark'
    """

    def __init__(self, *, data_root: str | None = None, download: bool = False, fold: Natural = 5) -> None:
        if not 1 <= fold <= FOLDS:
            raise ValueError(f"fold={fold} is not one of the five folds 1..{FOLDS}")
        written = {name: name for name in CLASSES} | {name.replace(" ", "_"): name for name in CLASSES}
        super().__init__(
            files=f"{PACKED} | {ORIGINAL}::*.ogg",
            # In the repository a folder is called "001 - Dog bark", here dog_bark.
            pattern=r"(?:\d{3} - )?(?P<kind>[A-Za-z_ ]+)/(?P<name>(?P<fold>[1-5])-\d+-[A-Z])\.ogg$",
            columns={"content": "audio", "kind": "label"},
            labels=written | {name.capitalize(): name for name in CLASSES},
            splits={"test": f"fold == {fold}", "val": f"fold == {FOLDS if fold == 1 else fold - 1}"},
            ids="esc10/{split}/{label}/{name}",
            fetch={ORIGINAL: URL},
            data_root=data_root,
            download=download,
        )

    def _id(self, place: int, row: Row) -> str:
        return super()._id(place, row).replace(" ", "_")

    @cached_property
    def _splits(self) -> dict[Split, np.ndarray]:
        number, seen = {name: i for i, name in enumerate(CLASSES)}, self._looked.kept

        def order(place: int) -> tuple[int, str]:
            part, inner = self._rows.part(seen.index[place])
            return number[seen.names(place)[0]], part.place(inner)

        return {name: np.array(sorted(rows.tolist(), key=order), dtype=int) for name, rows in super()._splits.items()}
