import torch

from omniformer.data.sets.molecule_table import MoleculeTable


class Rows:
    """Twenty-one molecules, of which the last cannot be read."""

    valid = (*[True] * 20, False)

    def __len__(self):
        return 21

    def graph(self, row):
        return {"n_nodes": row}


class Table(MoleculeTable):
    prefix, target = "table", "value"

    def _table(self):
        return torch.arange(21.0), Rows()


def test_rows_are_split_by_their_last_digit_and_unreadable_ones_are_counted():
    table = Table()
    assert [raw.id for raw in table.split("test")] == ["table/test/0", "table/test/10"]
    assert [raw.id for raw in table.split("val")] == ["table/val/1", "table/val/11"]
    assert [int(raw.targets["value"]) for raw in table.split("train")] == [*range(2, 10), *range(12, 20)]
    assert table.split("train")[0].contents == {"graph": {"n_nodes": 2}}
    assert table.n_dropped == 1
