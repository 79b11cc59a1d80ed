import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Modalities


def test_a_token_reads_the_modalities_of_its_row():
    modality = torch.tensor([0, 1, 2, 0, 1])
    reads = [[0], [0, 1, 2], []]
    expected = torch.tensor([[b in reads[a] for b in modality.tolist()] for a in modality.tolist()])
    assert torch.equal(Modalities(reads).mask(Layout(lengths=torch.tensor([5]), modality=modality)), expected)


def test_permissions_combine_with_order():
    layout = Layout(lengths=torch.tensor([3]), modality=torch.tensor([0, 0, 1]))
    assert (Modalities([[0], [0, 1]]) & Causal()).draw(layout).splitlines() == ["■ · ·", "■ ■ ·", "■ ■ ■"]


def test_a_rule_is_not_changed_by_changing_the_table_it_was_made_of():
    table = [[0]]
    rule = Modalities(table)
    table[0].append(5)
    assert rule == Modalities([[0]]) and hash(rule) == hash(Modalities([[0]]))


def test_bad_tables_are_refused():
    with pytest.raises(ValueError, match=r"reads\[1\] names modality 3; the table has rows 0 to 1"):
        Modalities([[0], [3]])
    with pytest.raises(ValueError, match="modality 2; the table reads has only 1 rows"):
        Modalities([[0]]).mask(Layout(lengths=torch.tensor([1]), modality=torch.tensor([2])))
    with pytest.raises(ValueError, match="modality"):
        Modalities([[0]]).mask(Layout.from_lengths(1))
