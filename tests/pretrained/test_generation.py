"""Texts that published models write: the reference library's ids, one for one."""

from itertools import takewhile

import pytest
import torch
import vocabularies
from omniformer_tokenizers import Tokens
from twins import saved, shaken, transformers

from omniformer import pretrained
from omniformer.batch import Sample, collate
from omniformer.generation import BeamSearch, Greedy, NoRepeat, write

VOCAB, NEW = 17, 14
# Of these ids all three models make answers of many lengths.
STOP = (5, 8)
PROMPTS = ([1, 5, 9, 4, 11, 3, 7], [1], [1, 8, 8, 12])
# Our names of when a search ends, and the reference's.
STOPPING = {"certain": "never", "likely": False, "full": True}

LLAMA = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCAB,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": None,
}


def gpt2():
    ids = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": None}
    config = transformers.GPT2Config(n_embd=24, n_layer=2, n_head=3, n_positions=40, vocab_size=VOCAB, **ids)
    return transformers.GPT2LMHeadModel(config)


def llama():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))


def mistral():
    return transformers.MistralForCausalLM(transformers.MistralConfig(**LLAMA, sliding_window=5))


@pytest.fixture(scope="module", params=[gpt2, llama, mistral], ids=["gpt2", "llama", "mistral"])
def pair(request, tmp_path_factory):
    """The reference's model and ours."""
    theirs = shaken(request.param())
    return theirs, pretrained.load(saved(theirs, tmp_path_factory.mktemp("model")))


def tokens(ids):
    positions = torch.arange(len(ids), dtype=torch.float32)[:, None]
    return Tokens(values=torch.tensor(ids), positions=positions, modality="text")


def ours(loaded, prompts=PROMPTS, **options):
    samples = [Sample(id=str(i), pieces=[], answer=[tokens(ids)]) for i, ids in enumerate(prompts)]
    return write(loaded.model, "causal_lm", collate(samples), max_new_tokens=NEW, **options)


def theirs_one_by_one(model, *, stop=(), prompts=PROMPTS, **options):
    """What they say of each prompt, and the ids behind it, with the stop id and padding."""
    found = []
    for ids in prompts:
        out = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False,
            max_new_tokens=NEW,
            eos_token_id=list(stop) or None,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )
        found.append((out, [row[len(ids) :].tolist() for row in out.sequences]))
    return found


def without_padding(ids, stop):
    """The ids up to the first stop id, which is left out as we leave it out."""
    return tuple(takewhile(lambda each: each not in stop, ids))


@pytest.mark.quick(4)
@pytest.mark.parametrize("cache", ["growing", "static", "none"])
@pytest.mark.parametrize("stop", [(), STOP], ids=["no end", "ends"])
def test_greedy(pair, stop, cache):
    theirs, loaded = pair
    found = ours(loaded, strategy=Greedy(), stop=stop, cache=cache)
    expected = [without_padding(rows[0], stop) for _, rows in theirs_one_by_one(theirs, stop=stop)]
    assert [answers[0].ids for answers in found] == expected
    assert [answers[0].ended for answers in found] == [len(ids) < NEW for ids in expected]


@pytest.mark.quick(8)
@pytest.mark.parametrize("stopping", STOPPING)
@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("n_beams", [2, 3, 5])
def test_beams(pair, n_beams, penalty, stopping):
    theirs, loaded = pair
    strategy = BeamSearch(n_beams=n_beams, n_best=n_beams, length_penalty=penalty, stopping=stopping)
    found = ours(loaded, strategy=strategy, stop=STOP)
    options = {"num_beams": n_beams, "length_penalty": penalty, "early_stopping": STOPPING[stopping]}
    each = theirs_one_by_one(theirs, stop=STOP, num_return_sequences=n_beams, **options)
    for answers, (out, rows) in zip(found, each, strict=True):
        assert [answer.ids for answer in answers] == [without_padding(ids, STOP) for ids in rows]
        assert [answer.score for answer in answers] == pytest.approx(out.sequences_scores.tolist(), rel=1e-4)


@pytest.mark.quick(2)
@pytest.mark.parametrize("cache", ["growing", "static", "none"])
def test_beams_without_an_end(pair, cache):
    theirs, loaded = pair
    found = ours(loaded, strategy=BeamSearch(n_beams=4), cache=cache)
    expected = [tuple(rows[0]) for _, rows in theirs_one_by_one(theirs, num_beams=4)]
    assert [answers[0].ids for answers in found] == expected


def test_a_window_needs_no_more_than_a_sliding_cache(pair):
    theirs, loaded = pair
    if loaded.family.config["model_type"] != "mistral":
        with pytest.raises(ValueError, match="window"):
            ours(loaded, strategy=Greedy(), cache="sliding")
        return
    for strategy, n_beams in ((Greedy(), 1), (BeamSearch(n_beams=3, stopping="likely"), 3)):
        found = ours(loaded, strategy=strategy, stop=STOP, cache="sliding")
        each = theirs_one_by_one(theirs, stop=STOP, num_beams=n_beams)
        assert [answers[0].ids for answers in found] == [without_padding(rows[0], STOP) for _, rows in each]


@pytest.mark.quick(2)
@pytest.mark.parametrize("n_beams", [1, 3])
def test_their_batch_padded_on_the_left(pair, n_beams):
    theirs, loaded = pair
    strategy = Greedy() if n_beams == 1 else BeamSearch(n_beams=n_beams, stopping="likely")
    found = ours(loaded, strategy=strategy, stop=STOP)
    longest = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (longest - len(each)) + each for each in PROMPTS])
    mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in PROMPTS])
    options = {"do_sample": False, "max_new_tokens": NEW, "eos_token_id": list(STOP), "pad_token_id": 0}
    rows = theirs.generate(ids, attention_mask=mask, num_beams=n_beams, **options)[:, longest:].tolist()
    assert [answers[0].ids for answers in found] == [without_padding(row, STOP) for row in rows]


@pytest.mark.quick(2)
@pytest.mark.parametrize("n_beams", [1, 3])
def test_log_probabilities_are_their_transition_scores(pair, n_beams):
    theirs, loaded = pair
    strategy = Greedy() if n_beams == 1 else BeamSearch(n_beams=n_beams, stopping="likely")
    found = ours(loaded, strategy=strategy, stop=STOP)
    for answers, (out, _) in zip(found, theirs_one_by_one(theirs, stop=STOP, num_beams=n_beams), strict=True):
        indices = out.beam_indices if n_beams > 1 else None
        scores = theirs.compute_transition_scores(out.sequences, out.scores, indices, normalize_logits=n_beams == 1)
        expected = scores[0, : len(answers[0].log_probs)].tolist()
        assert list(answers[0].log_probs) == pytest.approx(expected, abs=1e-4)


@pytest.mark.quick(2)
def test_the_texts_are_worth_comparing(pair):
    """Answers of different lengths and beginnings, some of which end; and the rules of stopping do differ."""
    _, loaded = pair
    found = {
        stopping: ours(loaded, strategy=BeamSearch(n_beams=3, n_best=3, stopping=stopping), stop=STOP)
        for stopping in STOPPING
    }
    lengths = {len(answer.ids) for answers in found["likely"] for answer in answers}
    ended = {answer.ended for answers in found["likely"] for answer in answers}
    assert len(lengths) > 2 and ended == {True, False}
    assert len({tuple(answer.ids for answers in each for answer in answers) for each in found.values()}) > 1


@pytest.mark.quick(2)
@pytest.mark.parametrize("n_beams", [1, 3])
def test_repetitions_and_early_ends_are_left_out_as_in_the_reference(pair, n_beams):
    theirs, loaded = pair
    strategy = Greedy() if n_beams == 1 else BeamSearch(n_beams=n_beams, stopping="likely")
    found = ours(loaded, strategy=strategy, stop=STOP, adjust=[NoRepeat(2)], min_new_tokens=6)
    asked = {"no_repeat_ngram_size": 2, "min_new_tokens": 6, "num_beams": n_beams}
    expected = [without_padding(rows[0], STOP) for _, rows in theirs_one_by_one(theirs, stop=STOP, **asked)]
    assert [answers[0].ids for answers in found] == expected
    assert min(map(len, expected)) >= 6
    plain = ours(loaded, strategy=strategy, stop=STOP)
    assert [answers[0].ids for answers in plain] != expected


def named(tokenizer, **config):
    """The ids that a tokenizer gives its special tokens, as a configuration says them."""
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    return {"vocab_size": len(tokenizer), **special, **config}


def gpt2_and_its_texts():
    tokenizer = vocabularies.gpt2()
    sizes = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 64}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**named(tokenizer, **sizes))), tokenizer


def a_llama(tokenizer):
    """A LLaMA with the ids of any vocabulary."""
    sizes = {name: size for name, size in LLAMA.items() if not name.endswith("_id") and name != "vocab_size"}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**named(tokenizer, **sizes)))


def llama_and_its_texts():
    tokenizer = vocabularies.llama()
    return a_llama(tokenizer), tokenizer


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", ["LLaMA 2", "GPT-2", "Qwen2"])
def test_prompts_are_what_the_references_tokenizer_makes_of_them(kind, tmp_path):
    """Behind `<s>` in LLaMA, as they are in GPT-2 and Qwen2, where no text begins with the end of another."""
    made = vocabularies.KINDS[kind]()
    theirs = shaken(a_llama(made))
    start = made.bos_token_id if made.bos_token_id is not None else made.eos_token_id
    theirs.generation_config.bos_token_id = start
    made.save_pretrained(saved(theirs, tmp_path))
    loaded, tokenizer = pretrained.load(tmp_path), type(made).from_pretrained(tmp_path)
    texts = ["the cat", "a dog on", ""]
    prompts = [tokenizer(text).input_ids or [start] for text in texts]
    found = loaded.generate(texts, strategy=Greedy(), max_new_tokens=NEW)
    each = theirs_one_by_one(theirs, stop=(made.eos_token_id,), prompts=prompts)
    for answers, prompt, (_, rows) in zip(found, prompts, each, strict=True):
        expected = without_padding(rows[0], (made.eos_token_id,))
        before, whole = (tokenizer.decode(ids, skip_special_tokens=True) for ids in (prompt, [*prompt, *expected]))
        assert answers[0].ids == expected
        assert answers[0].content == whole[len(before) :]


@pytest.mark.parametrize("make", [gpt2_and_its_texts, llama_and_its_texts])
def test_from_text_to_text(make, tmp_path):
    theirs, tokenizer = make()
    shaken(theirs)
    # What a text is likely to come to is made an end of it, as a chat model has several.
    texts = ["the cat sat on", "a dog"]
    prompts = [tokenizer(text).input_ids for text in texts]
    (_, (row,)), _ = theirs_one_by_one(theirs, prompts=prompts)
    stop = (tokenizer.eos_token_id, row[5])
    theirs.generation_config.eos_token_id = list(stop)
    tokenizer.save_pretrained(saved(theirs, tmp_path))
    loaded = pretrained.load(tmp_path)
    ended = []
    for strategy, n_beams in ((Greedy(), 1), (BeamSearch(n_beams=3, stopping="likely"), 3)):
        found = loaded.generate(texts, strategy=strategy, max_new_tokens=NEW)
        each = theirs_one_by_one(theirs, stop=stop, num_beams=n_beams, prompts=prompts)
        for text, answers, (_, rows) in zip(texts, found, each, strict=True):
            ids = without_padding(rows[0], stop)
            assert answers[0].ids == ids
            # Their text of prompt and answer together begins with the prompt.
            whole = tokenizer.decode([*tokenizer(text).input_ids, *ids], skip_special_tokens=True)
            assert text + answers[0].content == whole
            ended.append(answers[0].ended)
    assert any(ended)
