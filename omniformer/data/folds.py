"""Folds: a data set divided into so many parts that each sample validates once."""

from collections.abc import Sequence
from functools import partial

from omniformer.data.sets.on_access import OnAccess
from omniformer.data.source import Raw, Source, Split
from omniformer.data.table.splits import bound, by_hash


class Folds:
    """The training and validation samples of a source together, divided by the hashes of their ids: one fold validates,
    the others train. The test split stays as it is.

    What the source keeps together (`Source.kin`) is in one fold, and where every sample has a `label`, each class is
    divided alike. Neither the seed nor the order of the samples changes a fold.

    Args:
        source: the data set; every sample is read once, for its id and label.
        fold: which one validates, from 0.
        folds: how many there are.

    Raises:
        ValueError: there is no such fold, or too few samples for it.

    Example:
        >>> from omniformer.data.sets.digits import Digits
        >>> ten = [Folds(Digits(), fold=fold, folds=10) for fold in range(10)]
        >>> sum(len(each.split("val")) for each in ten)  # 1,258 of training and 180 of validation
        1438
    """

    def __init__(self, source: Source, *, fold: int, folds: int) -> None:
        if not 0 <= fold < folds or folds < 2:
            raise ValueError(f"fold={fold} is not one of 0 to {folds - 1}, of at least two folds")
        parts: tuple[Split, Split] = ("train", "val")
        self.raws = [source.split(part) for part in parts]
        named = [(raw.id, raw.targets.get("label")) for part in self.raws for raw in part]
        kin = [keys for part in parts for keys in source.kin(part)]
        labels = [None if label is None else int(label) for _, label in named]
        # Without classes all are of one kind, so that folds are even. What is in the fold is called the test there.
        strata = [0] * len(named) if None in labels else labels
        where = by_hash([key for key, _ in named], bound(kin), strata=strata, shares=(1, 0, 0), fold=(fold, folds))
        self.chosen = {
            "train": [i for i, name in enumerate(where) if name != "test"],
            "val": [i for i, name in enumerate(where) if name == "test"],
        }
        if not all(self.chosen.values()):
            raise ValueError(
                f"{source.name} has {len(named)} samples for training and validation: fold={fold} of folds={folds} "
                f"would train with {len(self.chosen['train'])} and validate with {len(self.chosen['val'])}; take fewer "
                "folds, or more samples"
            )

    def split(self, name: Split) -> Sequence[Raw]:
        """The samples of `train` or `val`, each read when it is asked for."""
        return OnAccess(len(self.chosen[name]), partial(self._read, name))

    def _read(self, name: Split, number: int) -> Raw:
        index = self.chosen[name][number]
        trained = len(self.raws[0])
        return self.raws[0][index] if index < trained else self.raws[1][index - trained]
