"""What a batch has begun comes apart into samples, and begins anew."""

import torch

from omniformer.batch import collate
from omniformer.generation.begun import begin, samples_of


def test_a_batch_comes_apart_into_the_samples_it_was_made_of(samples):
    for found, sample in zip(samples_of(collate(samples)), samples, strict=True):
        assert (found.id, found.prefix) == (sample.id, sample.prefix)
        for ours, theirs in ((found.pieces, sample.pieces), (found.answer, sample.answer)):
            assert [piece.modality for piece in ours] == [piece.modality for piece in theirs]
            assert all(torch.equal(a.values, b.values) for a, b in zip(ours, theirs, strict=True))
            assert all(torch.equal(a.positions, b.positions) for a, b in zip(ours, theirs, strict=True))


def test_to_begin_is_to_have_written_the_start_id_only(batch):
    begun = begin(batch, 0)
    assert [sample.answer[0].values.tolist() for sample in samples_of(begun)] == [[0]] * 4
    assert begun.lengths.tolist() == batch.lengths.tolist()
    assert begin(batch, 4, modality="pixels", axes=2).answer.parts["pixels"].positions.shape == (4, 2)
