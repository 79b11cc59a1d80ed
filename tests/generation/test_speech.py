"""Where points in time may stand in a transcript."""

import pytest
import torch

from omniformer.generation.speech import Speech, Timestamps

VOCAB, STOP, UNTIMED = 30, 10, 15
POINTS = range(UNTIMED + 1, VOCAB)


@pytest.mark.parametrize("latest", [None, 3])
def test_points_stand_where_the_reference_lets_them(latest):
    transformers = pytest.importorskip("transformers")
    told = {"eos_token_id": STOP, "bos_token_id": STOP, "max_initial_timestamp_index": latest}
    config = transformers.GenerationConfig(no_timestamps_token_id=UNTIMED, **told)
    theirs = transformers.WhisperTimeStampLogitsProcessor(config, begin_index=2)
    ours = Timestamps(Speech(begin=[11, 12], untimed=UNTIMED, stop=STOP, latest_first=latest))
    generator = torch.Generator().manual_seed(0)
    written = [[], [17], [17, 3], [17, 3, 20], [17, 3, 20, 20], [17, 3, 20, 20, 4], [17, 3, 4, VOCAB - 1]]
    for ids in written:
        scores = 3 * torch.randn(40, VOCAB, generator=generator)
        rows = torch.tensor([[11, 12, *ids]]).expand(40, -1)
        found = ours(scores, before=[[11, 12]] * 40, written=[ids] * 40)
        assert torch.equal(found, theirs(rows, scores))


def test_rows_of_a_batch_are_told_apart():
    scores = torch.zeros(2, VOCAB)
    rule = Timestamps(Speech(begin=[11], untimed=UNTIMED, stop=STOP))
    first, second = rule(scores, before=[[11], [11]], written=[[18], [18, 2, 20]])
    assert first[list(POINTS)].isinf().all() and not first[:STOP].isinf().any()
    assert second[:STOP].isinf().all() and not second[list(range(20, VOCAB))].isinf().any()
    assert not scores.any()
