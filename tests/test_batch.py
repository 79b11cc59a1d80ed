import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Sample, collate


def text(*ids: int) -> Tokens:
    return Tokens(values=torch.tensor(ids), positions=torch.arange(len(ids))[:, None].float(), modality="text")


def image(n: int) -> Tokens:
    return Tokens(values=torch.full((n, 3), float(n)), positions=torch.zeros(n, 2), modality="vision")


def test_places_put_each_piece_where_its_sample_has_it():
    samples = [
        Sample(id="a", pieces=[image(2), text(5)]),
        Sample(id="b", pieces=[text(6, 7), image(1), text(8)]),
        Sample(id="c", pieces=[]),
    ]
    batch = collate(samples)
    sequence: list[object] = [None] * batch.n_tokens
    for modality, part in batch.parts.items():
        for place, value in zip(batch.places[modality].tolist(), part.values.tolist(), strict=True):
            sequence[place] = value
    assert sequence == [[2.0] * 3, [2.0] * 3, 5, 6, 7, [1.0] * 3, 8]
    assert batch.lengths.tolist() == [3, 4, 0]


def test_targets_are_stacked_and_token_targets_joined():
    samples = [
        Sample(
            id=str(n),
            pieces=[text(*range(n))],
            targets={"label": torch.tensor(n)},
            token_targets={"mask": torch.ones(n)},
        )
        for n in (1, 3)
    ]
    batch = collate(samples)
    assert batch.targets["label"].tolist() == [1, 3]
    assert len(batch.token_targets["mask"]) == 4


def test_lengths_and_ids_stay_on_the_host_when_the_batch_moves():
    batch = collate([Sample(id="a", pieces=[text(1, 2)], targets={"label": torch.tensor(0)})]).to("meta")
    assert batch.lengths.device.type == "cpu"
    assert batch.parts["text"].values.device.type == "meta"
    assert batch.targets["label"].device.type == "meta"
    assert batch.ids == ("a",)


def test_a_sample_without_the_others_target_is_named():
    with pytest.raises(ValueError, match="sample 'b' has targets \\[\\].*'label'"):
        collate([Sample(id="a", pieces=[], targets={"label": torch.tensor(1)}), Sample(id="b", pieces=[])])


def test_a_target_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"sample 'b': target 'label' has shape \[2\], sample 'a' has \[1\]"):
        collate([Sample(id=name, pieces=[], targets={"label": torch.zeros(n)}) for name, n in (("a", 1), ("b", 2))])


def test_a_token_target_must_have_a_row_for_each_token():
    with pytest.raises(ValueError, match="sample 'a': 3 rows of token target 'label' for 2 tokens"):
        Sample(id="a", pieces=[text(1, 2)], token_targets={"label": torch.zeros(3)})


def test_no_samples_is_an_error():
    with pytest.raises(ValueError, match="no samples"):
        collate([])


def test_a_selection_equals_a_batch_that_never_had_the_other_modalities():
    word = Tokens(values=torch.tensor([7, 9]), positions=torch.zeros(2, 1), modality="text")
    frame = Tokens(values=torch.ones(3, 4), positions=torch.zeros(3, 1), modality="audio")
    pieces = [[word, frame, word], [frame], [], [word]]
    samples = [
        Sample(id=str(i), pieces=p, token_targets={"n": torch.arange(sum(map(len, p)))}) for i, p in enumerate(pieces)
    ]
    batch = collate(samples)
    for name in ("text", "audio"):
        only = [[piece for piece in p if piece.modality == name] for p in pieces]
        expected = collate([Sample(id=str(i), pieces=p) for i, p in enumerate(only)])
        selected = batch.select(name)
        assert list(selected.parts) == [name]
        assert torch.equal(selected.lengths, expected.lengths)
        assert torch.equal(selected.places[name], expected.places[name])
        assert torch.equal(selected.token_targets["n"], batch.token_targets["n"][batch.places[name]])
    assert batch.select("video").lengths.tolist() == [0, 0, 0, 0]


def test_answers_travel_as_a_batch_of_their_own():
    word = Tokens(values=torch.tensor([7, 9]), positions=torch.zeros(2, 1), modality="text")
    batch = collate([Sample(id="a", pieces=[word], answer=[word]), Sample(id="b", pieces=[], answer=[word])])
    assert batch.answer.lengths.tolist() == [2, 2] and batch.answer.ids == ("a", "b")
    assert batch.n_tokens == 6
    assert batch.to("cpu").answer.n_tokens == 4
    with pytest.raises(ValueError, match="sample 'b' has no answer, sample 'a' has one"):
        collate([Sample(id="a", pieces=[], answer=[word]), Sample(id="b", pieces=[word])])
