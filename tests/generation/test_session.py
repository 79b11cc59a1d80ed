from dataclasses import replace
from functools import partial

import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Sample, collate
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.core.variants.reformer import ReformerAttention
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.generation import Allowed, Session
from omniformer.generation.begun import samples_of
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.model import OmniFormer

STEPS = [[1, 2, 3, 4], [5, 5, 6, 1], [2, 0, 4, 3], [6, 1, 1, 2], [3, 3, 5, 0]]


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.quick(2)
def test_scores_after_every_step_are_those_of_one_pass_over_each_sample_alone(model, batch, samples, scores):
    for cache in ("growing", "static", "none"):
        session, written = Session(model, "it", batch, cache=cache, max_new_tokens=5), [[], [], [], []]
        for chosen in STEPS:
            session.advance(chosen)
            for row, each in enumerate(chosen):
                written[row].append(each)
            expected = [scores(model, sample, ids) for sample, ids in zip(samples, written, strict=True)]
            close(session.logits.log_softmax(-1), torch.stack(expected))
        assert session.written == [
            [*sample.answer[0].values.tolist(), *ids] for sample, ids in zip(samples, written, strict=True)
        ]


def test_a_sliding_cache_holds_the_window_and_gives_the_same_scores(window, batch, samples, scores):
    session = Session(window, "it", batch, cache="sliding")
    for chosen in STEPS:
        session.advance(chosen)
    expected = [scores(window, sample, [ids[row] for ids in STEPS]) for row, sample in enumerate(samples)]
    close(session.logits.log_softmax(-1), torch.stack(expected))
    assert session._cache.layers[0]._k._rows.shape[1] == 4 + 1  # the new token, three before it and the sink


def test_a_core_that_knows_no_cache_writes_without_one(batch, samples, scores):
    torch.manual_seed(0)
    core = Transformer(d_model=16, n_layers=1, n_heads=2, attention=partial(ReformerAttention, seed=1))
    model = OmniFormer(
        core=core,
        embedders={
            "text": IdEmbedder(d_model=16, vocab_size=7, init_std=1.0),
            "audio": VectorEmbedder(d_model=16, features=3),
        },
        heads={"it": NextTokenHead(d_model=16, vocab_size=7)},
        rules={"it": Causal()},
    ).eval()
    session = Session(model, "it", batch, cache="none")
    session.advance([1, 2, 3, 4])
    expected = [scores(model, sample, [chosen]) for sample, chosen in zip(samples, [1, 2, 3, 4], strict=True)]
    close(session.logits.log_softmax(-1), torch.stack(expected))
    with pytest.raises(ValueError, match="without a cache"):
        Session(model, "it", batch).advance([1, 2, 3, 4])


@pytest.mark.quick(2)
def test_rows_can_be_repeated_and_left_out_at_any_time(model, batch, samples, scores):
    for cache in ("growing", "static", "none"):
        session = Session(model, "it", batch, cache=cache)
        session.advance([1, 2, 3, 4])
        session.reorder([3, 0, 0])
        session.advance([5, 6, 1])
        session.reorder([2, 1, 0, 1])
        close(session.logits[0].log_softmax(-1), scores(model, samples[0], [1, 1]))
        session.advance([2, 3, 4, 5])
        rows = ((0, [1, 1, 2]), (0, [1, 6, 3]), (3, [4, 5, 4]), (0, [1, 6, 5]))
        expected = [scores(model, samples[sample], ids) for sample, ids in rows]
        close(session.logits.log_softmax(-1), torch.stack(expected))


def test_only_the_last_token_of_each_sample_goes_through_the_head(one_sequence, batch):
    seen = []
    one_sequence.heads["it"].register_forward_hook(lambda head, inputs, out: seen.append(len(inputs[0])))
    Session(one_sequence, "it", batch).advance([1, 1, 1, 1])
    assert seen == [4, 4]


def test_a_full_context_goes_on_from_its_later_half_whatever_its_neighbours_do(one_sequence, plain, scores):
    prompts, limit = [(0, 1, 2, 3, 4, 5), (0, 6)], 6
    session = Session(one_sequence, "it", plain(*prompts), max_seq_len=limit)
    contexts = [list(prompt) for prompt in prompts]
    for chosen in STEPS:
        session.advance(chosen[:2])
        for row, each in enumerate(chosen[:2]):
            contexts[row].append(each)
            if len(contexts[row]) > limit:
                contexts[row] = contexts[row][-limit // 2 :]
        expected = [scores(one_sequence, samples_of(plain(context))[0], []) for context in contexts]
        close(session.logits.log_softmax(-1), torch.stack(expected))
    assert session.written[1] == [0, 6, 2, 5, 0, 1, 3]


def test_of_a_prompt_longer_than_the_context_the_end_is_read(one_sequence, plain, scores):
    session = Session(one_sequence, "it", plain((0, 1, 2, 3, 4, 5)), max_seq_len=4)
    close(session.logits[0].log_softmax(-1), scores(one_sequence, samples_of(plain((2, 3, 4, 5)))[0], []))


def test_guidance_moves_scores_away_from_those_without_what_is_given(model, batch, samples, scores):
    session = Session(model, "it", batch, guidance=3.0)
    session.advance([1, 2, 3, 4])
    session.reorder([2, 0])
    for row, (i, ids) in enumerate(((2, [3]), (0, [1]))):
        with_it = scores(model, samples[i], ids)
        without = scores(model, replace(samples[i], pieces=()), ids)
        close(session.logits[row].log_softmax(-1), (without + 3 * (with_it - without)).log_softmax(-1))


def test_guidance_of_a_plain_prompt_compares_with_its_last_id_alone(one_sequence, plain, scores):
    session = Session(one_sequence, "it", plain((0, 3, 5)), guidance=2.0)
    session.advance([4])
    with_it, without = (scores(one_sequence, samples_of(plain(prompt))[0], [4]) for prompt in ((0, 3, 5), (5,)))
    close(session.logits[0].log_softmax(-1), (without + 2 * (with_it - without)).log_softmax(-1))


def test_guidance_of_one_costs_nothing(one_sequence, batch):
    assert Session(one_sequence, "it", batch)._plain is None


def test_banned_ids_have_no_chance(one_sequence, batch):
    session = Session(one_sequence, "it", batch, allowed=Allowed(never=(0, 3)), guidance=2.0)
    session.advance([1, 1, 1, 1])
    assert session.logits.isinf().nonzero()[:, 1].unique().tolist() == [0, 3]


GRID = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def painter() -> OmniFormer:
    torch.manual_seed(0)
    return OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2, rotary=partial(Rotary, n_axes=2), init_std=0.3),
        embedders={
            "pixels": IdEmbedder(d_model=16, vocab_size=5, init_std=1.0),
            "text": IdEmbedder(d_model=16, vocab_size=5),
        },
        heads={"it": NextTokenHead(d_model=16, vocab_size=5, modality="pixels")},
        rules={"it": Causal()},
    ).eval()


def pixels(*ids: int) -> Tokens:
    return Tokens(values=torch.tensor(ids), positions=GRID[: len(ids)], modality="pixels")


@pytest.mark.parametrize("cache", ["growing", "none"])
def test_pixels_lie_where_the_caller_says(cache):
    model, word = painter(), Tokens(values=torch.tensor([3, 1]), positions=torch.arange(2.0)[:, None], modality="text")
    samples = [Sample(id="a", pieces=[word], answer=[pixels(4)]), Sample(id="b", pieces=[], answer=[pixels(4)])]
    session = Session(model, "it", collate(samples), positions=GRID, cache=cache)
    assert session.room == 4
    session.advance([1, 2])
    session.advance([3, 0])
    assert session.room == 2
    whole = [replace(samples[0], answer=[pixels(4, 1, 3)]), replace(samples[1], answer=[pixels(4, 2, 0)])]
    x, layout = model.decode(collate(whole), "it")
    close(session.logits, model.heads["it"](x, layout)[[2, 5]])


def test_an_answer_longer_than_its_positions_is_refused():
    session = Session(painter(), "it", collate([Sample(id="a", pieces=[], answer=[pixels(4)])]), positions=GRID[:2])
    session.advance([1])
    with pytest.raises(ValueError, match="an answer would have 3 tokens; there are 2 positions"):
        session.advance([1])


def test_pixels_without_positions_are_refused():
    with pytest.raises(ValueError, match="answers of 'pixels' lie on 2 axes; give positions of all their tokens"):
        Session(painter(), "it", collate([Sample(id="a", pieces=[], answer=[pixels(4)])]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache": "huge"}, "cache='huge' is not known; choose growing, static, sliding or none"),
        ({"guidance": -1.0}, "guidance=-1.0 must be at least 0"),
        ({"max_seq_len": 1}, "max_seq_len=1 must be at least 2"),
        ({"max_seq_len": 8, "positions": GRID}, "give one"),
        ({"cache": "sliding"}, "looks back without end; use cache='growing', or a rule with a window"),
    ],
)
def test_misuse_is_told(one_sequence, batch, options, message):
    with pytest.raises(ValueError, match=message):
        Session(one_sequence, "it", batch, **options)


def test_samples_that_cannot_be_gone_on_from_are_named(one_sequence):
    empty = [Sample(id="x", pieces=[], answer=[pixels(1)])]
    with pytest.raises(ValueError, match="sample 'x' answers with pixels; this head writes 'text'"):
        Session(one_sequence, "it", collate(empty))
    with pytest.raises(ValueError, match="sample 'y' has nothing to go on from; begin its answer with the start id"):
        Session(one_sequence, "it", collate([Sample(id="y", pieces=[])]))


def test_a_model_with_damaged_weights_is_told(one_sequence, batch):
    with torch.no_grad():
        one_sequence.heads["it"].ids.weight[3, 0] = torch.nan
    with pytest.raises(ValueError, match="head 'it' gave scores that are no numbers; the model's weights are damaged"):
        Session(one_sequence, "it", batch)


def test_scores_beyond_all_numbers_are_scores(one_sequence, batch):
    def capped(scores):
        return scores.masked_fill(scores == scores.amax(), torch.inf).masked_fill(scores == scores.amin(), -torch.inf)

    one_sequence.heads["it"].score = capped
    logits = Session(one_sequence, "it", batch).logits
    assert not logits.isnan().any() and set(logits[logits.isinf()].tolist()) == {-torch.inf, torch.inf}


def test_a_head_that_predicts_no_ids_cannot_write(batch):
    model = OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2),
        embedders={"text": IdEmbedder(d_model=16, vocab_size=5)},
        heads={"digits": ClassificationHead(d_model=16, n_classes=3)},
    )
    with pytest.raises(ValueError, match="head 'digits' is a ClassificationHead; only a NextTokenHead writes"):
        Session(model, "digits", batch)
    with pytest.raises(ValueError, match="no head named 'lm'; this model has digits"):
        Session(model, "lm", batch)
