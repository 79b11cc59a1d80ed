"""Answers of a given form: every one that a model without any knowledge draws fulfils its schema, or its regex."""

import json
import logging
import re
import sys

import pytest
import torch
import vocabularies
from omniformer_tokenizers import BPETokenizer, ByteTokenizer, CharacterTokenizer, WordTokenizer

from omniformer.core import Transformer
from omniformer.core.rules import Causal
from omniformer.embedders import IdEmbedder
from omniformer.generation import BeamSearch, Constrained, Greedy, NoRepeat, Sampling, Writer
from omniformer.generation.constrained import token_bytes
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 3},
        "kind": {"enum": ["cat", "Größe", "\u2028"]},
        "sizes": {"type": "array", "items": {"type": "integer", "minimum": -5, "maximum": 120}, "maxItems": 2},
        "more": {"type": ["boolean", "null"]},
    },
    "required": ["name", "kind", "sizes"],
    "additionalProperties": False,
}
REGEX = "(yes|no), [0-9]{2,4} ?€"


def valid(text):
    """Whether a text fulfils SCHEMA, by plain questions."""
    found = json.loads(text)
    if not isinstance(found, dict) or not {"name", "kind", "sizes"} <= set(found) <= {*SCHEMA["properties"]}:
        return False
    whole = all(isinstance(each, int) and -5 <= each <= 120 for each in found["sizes"])
    fits = len(found["name"]) <= 3 and found["kind"] in SCHEMA["properties"]["kind"]["enum"]
    return whole and fits and len(found["sizes"]) <= 2 and found.get("more") in (True, False, None)


def writer(tokenizer, rows=0):
    """A task that writes with weights of no meaning; some rows of its scores belong to no id."""
    torch.manual_seed(0)
    n = tokenizer.vocab_size + rows
    model = OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2, init_std=0.5),
        embedders={"text": IdEmbedder(d_model=16, vocab_size=n)},
        heads={"it": NextTokenHead(d_model=16, vocab_size=n, tied=False)},
        rules={"it": Causal()},
    )
    return Writer(model.eval(), "it", tokenizers={"text": tokenizer})


@pytest.fixture(scope="module")
def pairs():
    """Byte-level pairs of texts that look like what is asked for."""
    texts = ['{"name": "cat", "kind": "Größe", "sizes": [1, 20, 120], "more": true}', "yes, 20 € no, 4000€"]
    return BPETokenizer(vocab_size=330).fit(texts * 5)


@pytest.mark.quick(1)
@pytest.mark.parametrize("strategy", ["drawn", "best of", "beams"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 6))])
def test_every_answer_fulfils_its_schema_whatever_the_prompts(strategy, seed, pairs):
    chosen = {
        "drawn": Sampling(seed=seed, temperature=1.5),
        "best of": Sampling(seed=seed, n=2),
        "beams": BeamSearch(n_beams=2 + seed % 3, n_best=2),
    }[strategy]
    prompts = ["", "the cat {" * (seed + 1)]
    found = writer(pairs, rows=3).write(prompts, schema=SCHEMA, strategy=chosen, max_new_tokens=400)
    assert all(each.ended and valid(each.content) for answers in found for each in answers)
    assert [len(answers) for answers in found] == [1 if strategy == "drawn" else 2] * 2


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", ["bytes", "pairs", "characters", "LLaMA 2", "Qwen2"])
def test_every_answer_matches_its_regex_in_every_vocabulary_that_says_what_its_ids_are(kind, pairs):
    made = {
        "bytes": ByteTokenizer,
        "pairs": lambda: pairs,
        "characters": lambda: CharacterTokenizer().fit(["yes, no 0123456789 €"]),
    }
    tokenizer = made[kind]() if kind in made else published(kind)
    texts = writer(tokenizer)
    for seed in range(2):
        found = texts.write(["no", "yes 12"], regex=REGEX, strategy=Sampling(seed=seed), max_new_tokens=60)
        assert all(each.ended and re.fullmatch(REGEX, each.content) for (each,) in found), found


def published(kind):
    """A vocabulary of the reference as we read it."""
    from omniformer_tokenizers import SubwordTokenizer

    theirs = vocabularies.KINDS[kind]()
    return SubwordTokenizer.from_text(theirs.backend_tokenizer.to_str(), kind, start=0, stop=2)


def test_an_answer_alone_equals_the_one_in_a_batch_and_the_streamed_one(pairs):
    texts = writer(pairs)
    options = {"schema": SCHEMA, "strategy": Sampling(seed=1), "max_new_tokens": 300}
    alone, batch = texts.write(["cat"], **options), texts.write(["cat", "a longer one"], **options)
    assert alone[0][0].ids == batch[0][0].ids
    assert "".join(texts.stream("cat", **options)) == alone[0][0].content


def test_a_draft_keeps_to_the_form_too(pairs):
    texts = writer(pairs)
    options = {"regex": REGEX, "strategy": Greedy(), "max_new_tokens": 60}
    plain = texts.write(["cat", "no"], **options)
    drafted = texts.write(["cat", "no"], **options, draft=texts.draft(3))
    assert [each.ids for (each,) in drafted] == [each.ids for (each,) in plain]


def test_states_that_were_forgotten_are_found_again(pairs, monkeypatch):
    monkeypatch.setattr("omniformer.generation.constrained._KEPT", 0)
    form = Constrained(pairs, regex="[0-9]{3}")
    ids = pairs("123").values.tolist()
    scores = torch.zeros(1, pairs.vocab_size)
    masks = [form(scores, before=[[]], written=[ids[:n]]) for n in (0, len(ids), 0, len(ids))]
    assert torch.equal(masks[0], masks[2]) and torch.equal(masks[1], masks[3])
    assert masks[1].isfinite().nonzero()[:, 1].tolist() == [pairs.stop]


def test_answers_that_are_cut_are_counted(pairs, caplog):
    with caplog.at_level(logging.WARNING):
        texts = writer(pairs)
        texts.write(["a", "b"], schema=SCHEMA, max_new_tokens=3)
        list(texts.stream("a", schema=SCHEMA, max_new_tokens=3))
    assert caplog.messages == [
        "2 of 2 answers are cut before they are whole; raise max_new_tokens",
        "1 of 1 answers are cut before they are whole; raise max_new_tokens",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schema": {"type": "strin"}}, "schema cannot be followed: Invalid type: strin"),
        ({"schema": {"not": {}, "type": "object"}}, 'schema cannot be followed: Unimplemented keys: \\["not"\\]'),
        ({"schema": {1, 2}}, "schema is no JSON schema"),
        ({"regex": "a(b"}, r"regex='a\(b' cannot be followed"),
        ({"regex": "a", "schema": {}}, "give a schema or a regex, one of the two"),
        ({"regex": "a", "stop": ["x"]}, "leave out stop and min_new_tokens"),
        ({"regex": "a", "min_new_tokens": 2}, "leave out stop and min_new_tokens"),
        ({"regex": "aaaa", "adjust": [NoRepeat(1)]}, "regex='aaaa': no id may follow in an answer"),
    ],
)
def test_what_cannot_be_followed_is_told(options, message, pairs):
    with pytest.raises(ValueError, match=message):
        writer(ByteTokenizer()).write(["x"], max_new_tokens=9, **options)


def test_vocabularies_that_do_not_do_are_told(monkeypatch):
    with pytest.raises(
        ValueError, match="ids of this WordTokenizer do not say by themselves which text they stand for"
    ):
        Constrained(WordTokenizer().fit(["a b"]), regex="a")
    with pytest.raises(ValueError, match="no id may follow in an answer .*; the vocabulary cannot spell what is"):
        writer(CharacterTokenizer().fit(["abc"])).write(["a"], regex="x", max_new_tokens=5)
    with pytest.raises(ValueError, match="what is written does not follow it"):
        Constrained(ByteTokenizer(), regex="a")(torch.zeros(1, 257), before=[[]], written=[[ord("b")]])
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(ImportError, match="need llguidance, not installed here: uv sync --extra constrained"):
        Constrained(ByteTokenizer(), regex="a")


def test_bytes_of_pieces_join_to_the_text_that_is_decoded():
    tokenizer = published("LLaMA 2")
    table, text = token_bytes(tokenizer), "a naïve café 😀 and  1\n"
    ids = tokenizer(f"x{text}").values.tolist()
    assert b"".join(table[i] for i in ids).decode().lstrip() == f"x{text}"
