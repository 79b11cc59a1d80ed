"""Texts that T5, BART and Marian write about other texts: the reference library's ids, one for one."""

from itertools import takewhile

import pytest
import torch
import vocabularies
from omniformer_tokenizers import Tokens
from twins import saved, shaken, transformers

from omniformer import pretrained
from omniformer.batch import Sample, collate
from omniformer.generation import BeamSearch, Greedy, write

VOCAB, NEW = 19, 12
# Of these ids all three models make answers of several lengths.
STOP = (11, 14)
PROMPTS = ([5, 9, 4, 11, 3, 7, 2], [2], [8, 8, 12, 2])
# Our names of when a search ends, and the reference's.
STOPPING = {"certain": "never", "likely": False, "full": True}
IDS = {"vocab_size": VOCAB, "pad_token_id": 1, "eos_token_id": list(STOP)}
SIDES = {
    f"{side}_{key}": value
    for side in ("encoder", "decoder")
    for key, value in (("layers", 2), ("ffn_dim", 20), ("attention_heads", 3))
}


def t5(**ids):
    sizes = {"d_model": 24, "d_kv": 5, "d_ff": 20, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 3}
    ids = IDS | {"decoder_start_token_id": 1} | ids
    return transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, **ids))


def bart(forced_bos_token_id=None, **ids):
    ids = IDS | {"decoder_start_token_id": 2, "forced_eos_token_id": None} | ids
    config = transformers.BartConfig(d_model=24, max_position_embeddings=32, **SIDES, **ids)
    theirs = transformers.BartForConditionalGeneration(config)
    theirs.final_logits_bias.copy_(torch.linspace(-1, 1, config.vocab_size)[None])
    theirs.generation_config.forced_bos_token_id = forced_bos_token_id
    return theirs


def marian(**ids):
    ids = IDS | {"decoder_start_token_id": 1, "forced_eos_token_id": STOP[0]} | ids
    config = transformers.MarianConfig(d_model=24, max_position_embeddings=32, **SIDES, **ids)
    theirs = transformers.MarianMTModel(config)
    theirs.generation_config.bad_words_ids = [[ids["pad_token_id"]]]
    return theirs


@pytest.fixture(scope="module", params=[t5, bart, marian], ids=["t5", "bart", "marian"])
def pair(request, tmp_path_factory):
    """The reference's model and ours."""
    return loaded(request.param(), tmp_path_factory.mktemp("model"))


def loaded(theirs, folder):
    theirs = shaken(theirs)
    return theirs, pretrained.load(saved(theirs, folder))


def tokens(ids, modality):
    positions = torch.arange(len(ids), dtype=torch.float32)[:, None]
    return Tokens(values=torch.tensor(ids), positions=positions, modality=modality)


def ours(model, prompts=PROMPTS, **options):
    (given,) = model.family.given
    start = [tokens([model.family.config["decoder_start_token_id"]], "text")]
    samples = [Sample(id=str(i), pieces=[tokens(ids, given)], answer=start) for i, ids in enumerate(prompts)]
    allowed = model.members["seq2seq"].allowed
    found = write(model.model, "seq2seq", collate(samples), max_new_tokens=NEW, stop=STOP, allowed=allowed, **options)
    return [[(answer.ids, answer.score) for answer in answers] for answers in found]


def theirs_padded(model, prompts=PROMPTS, **options):
    """Their ids for a batch of padded prompts, without start, end and padding; and what they say of them."""
    longest = max(map(len, prompts))
    ids = torch.tensor([each + [1] * (longest - len(each)) for each in prompts])
    mask = torch.tensor([[1] * len(each) + [0] * (longest - len(each)) for each in prompts])
    out = model.generate(
        ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW, return_dict_in_generate=True, output_scores=True,
        **options,
    )  # fmt: skip
    return [written(row, STOP) for row in out.sequences.tolist()], out


def written(row, stop):
    """A row of theirs without start, end and padding."""
    return tuple(takewhile(lambda each: each not in stop, row[1:]))


@pytest.mark.quick(3)
@pytest.mark.parametrize("cache", ["growing", "static", "none"])
def test_greedy(pair, cache):
    theirs, model = pair
    rows, _ = theirs_padded(theirs, num_beams=1)
    assert [answers[0][0] for answers in ours(model, strategy=Greedy(), cache=cache)] == rows


@pytest.mark.quick(6)
@pytest.mark.parametrize("stopping", STOPPING)
@pytest.mark.parametrize("penalty", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("n_beams", [2, 4])
def test_beams(pair, n_beams, penalty, stopping):
    theirs, model = pair
    strategy = BeamSearch(n_beams=n_beams, n_best=n_beams, length_penalty=penalty, stopping=stopping)
    options = {"num_beams": n_beams, "length_penalty": penalty, "early_stopping": STOPPING[stopping]}
    rows, out = theirs_padded(theirs, num_return_sequences=n_beams, **options)
    found = [answer for answers in ours(model, strategy=strategy) for answer in answers]
    assert [ids for ids, _ in found] == rows
    assert [score for _, score in found] == pytest.approx(out.sequences_scores.tolist(), rel=1e-4)


@pytest.mark.quick(2)
@pytest.mark.parametrize("n_beams", [1, 3])
@pytest.mark.parametrize("last", [None, STOP[0]])
def test_ids_that_have_their_place(last, n_beams, tmp_path):
    theirs, model = loaded(bart(forced_bos_token_id=6, forced_eos_token_id=last), tmp_path)
    strategy = Greedy() if n_beams == 1 else BeamSearch(n_beams=n_beams, stopping="likely")
    found = ours(model, strategy=strategy)
    rows, out = theirs_padded(theirs, num_beams=n_beams)
    assert [answers[0][0] for answers in found] == rows
    assert all(ids[0] == 6 for ids in rows)
    if n_beams > 1:
        assert [answers[0][1] for answers in found] == pytest.approx(out.sequences_scores.tolist(), rel=1e-4)


def test_ids_that_are_never_written_have_to_be_forbidden(tmp_path):
    theirs, model = loaded(marian(), tmp_path)
    for each in (theirs.final_logits_bias[0], model.model.heads["seq2seq"].kept_bias):
        each[1] += 3
    found = [answers[0][0] for answers in ours(model, strategy=BeamSearch(n_beams=3, stopping="likely"))]
    assert found == theirs_padded(theirs, num_beams=3)[0] and not any(1 in ids for ids in found)
    theirs.generation_config.bad_words_ids = None
    assert any(1 in ids for ids in theirs_padded(theirs, num_beams=3)[0])


@pytest.mark.quick(1)
def test_the_texts_are_worth_comparing(pair):
    """Answers of different lengths, some of which end; and the rules of stopping do differ."""
    _, model = pair
    each = {name: ours(model, strategy=BeamSearch(n_beams=4, n_best=4, stopping=name)) for name in STOPPING}
    lengths = {len(ids) for answers in each["likely"] for ids, _ in answers}
    assert len(lengths) > 2
    assert each["full"] != each["certain"]


TEXTS = ["The quick brown fox", "a cat and a dog.", "Ein naïver Café-Besucher"]


def with_t5(folder):
    tokenizer = vocabularies.t5()
    theirs = t5(vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
    tokenizer.save_pretrained(folder)
    return theirs, tokenizer


def with_bart(folder):
    tokenizer = vocabularies.bart()
    theirs = bart(vocab_size=len(tokenizer), eos_token_id=2, forced_bos_token_id=0, forced_eos_token_id=2)
    tokenizer.save_pretrained(folder)
    return theirs, tokenizer


def with_marian(folder):
    vocabularies.marian_pieces(folder)
    tokenizer = transformers.MarianTokenizer.from_pretrained(folder)
    pad = tokenizer.pad_token_id
    ids = {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": 0, "forced_eos_token_id": 0}
    return marian(vocab_size=pad + 1, **ids), tokenizer


@pytest.mark.quick(1)
@pytest.mark.filterwarnings("ignore:Recommended")  # of a normaliser of punctuation that the reference can do without
@pytest.mark.parametrize("made", [with_t5, with_bart, with_marian], ids=["t5", "bart", "marian"])
def test_from_text_to_text(made, tmp_path):
    theirs, tokenizer = made(tmp_path)
    theirs, model = loaded(theirs, tmp_path)
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    for strategy, options in (
        (Greedy(), {"num_beams": 1}),
        (BeamSearch(n_beams=3, length_penalty=0.6, stopping="likely"), {"num_beams": 3, "length_penalty": 0.6}),
    ):
        found = model.generate(TEXTS, strategy=strategy, max_new_tokens=NEW)
        rows = theirs.generate(**batch, do_sample=False, max_new_tokens=NEW, **options)
        stop = {theirs.generation_config.eos_token_id}
        assert [answers[0].ids for answers in found] == [written(row, stop) for row in rows.tolist()]
        expected = tokenizer.batch_decode(rows, skip_special_tokens=True)
        assert [answers[0].content for answers in found] == expected


@pytest.mark.filterwarnings("ignore:Recommended")
def test_a_model_written_back_writes_the_same(tmp_path):
    theirs, _ = with_marian(tmp_path)
    _, model = loaded(theirs, tmp_path)
    model.save_pretrained(tmp_path / "ours")
    again = pretrained.load(tmp_path / "ours")
    assert again.members["seq2seq"].allowed == model.members["seq2seq"].allowed
    written = [each.generate(TEXTS, max_new_tokens=NEW)[0][0].content for each in (model, again)]
    assert written[0] == written[1]
