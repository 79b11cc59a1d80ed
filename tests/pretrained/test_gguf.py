"""Models in the file of llama.cpp beside the same models of the reference library."""

import json
import sys

import pytest
import torch
import vocabularies
from gguf_files import gguf, unpacked, written
from omniformer_tokenizers import SentencePieceTokenizer
from twins import agree, ragged_ids, shaken, transformers

import omniformer
from omniformer import pretrained
from omniformer.generation import Greedy

Kind = gguf.GGMLQuantizationType
SIZES = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
CASES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM, {"rms_norm_eps": 1e-5}),
    "llama with ties and another base": (
        transformers.LlamaConfig,
        transformers.LlamaForCausalLM,
        {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    ),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM, {"tie_word_embeddings": False}),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM, {"head_dim": 32, "num_key_value_heads": 4}),
}


def model(case, **others):
    config, kind, own = CASES[case]
    return shaken(kind(config(**(SIZES | own | others))))


def same_scores(path, theirs):
    ids, mask = ragged_ids(96)
    ours = pretrained.as_reference(pretrained.load(path))(input_ids=ids, attention_mask=mask).logits
    with torch.no_grad():
        agree(ours, theirs(input_ids=ids, attention_mask=mask).logits, mask)


@pytest.mark.parametrize("case", CASES)
def test_scores_are_the_reference_s(case, tmp_path):
    theirs = model(case)
    same_scores(written(tmp_path / "it.gguf", theirs), theirs)


@pytest.mark.parametrize("packing", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_packed_weights_are_those_that_the_packing_leaves(packing, tmp_path):
    theirs = model("llama")
    path = written(tmp_path / "it.gguf", theirs, Kind[packing])
    loaded = pretrained.load(path, dtype=torch.float32)
    expected = unpacked(theirs, Kind[packing]).state_dict()
    table = loaded.model.embedders["text"].table.weight
    assert torch.equal(table, expected["model.embed_tokens.weight"])
    q = expected["model.layers.1.self_attn.q_proj.weight"]
    assert torch.equal(loaded.model.core.blocks[1].attention.branch.qkv.weight[: len(q)], q)
    kept = {"F16": torch.float16, "BF16": torch.bfloat16}.get(packing, torch.float32)
    assert pretrained.load(path).model.embedders["text"].table.weight.dtype == kept


@pytest.mark.parametrize("packing", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"])
def test_packings_of_superblocks_are_read_by_the_library(packing, tmp_path):
    """Nobody but llama.cpp writes these, so that the bytes are drawn at random."""
    theirs = model("qwen2", hidden_size=256, intermediate_size=256)
    n, generator = gguf.GGML_QUANT_SIZES[Kind[packing]][1], torch.Generator().manual_seed(0)
    raw = torch.randint(0, 60, (96, n), dtype=torch.uint8, generator=generator).numpy()
    loaded = pretrained.load(written(tmp_path / "it.gguf", theirs, packed={"token_embd.weight": (raw, Kind[packing])}))
    expected = torch.from_numpy(gguf.dequantize(raw, Kind[packing]))
    assert torch.equal(loaded.model.embedders["text"].table.weight, expected)


def test_rotary_positions_scaled_for_long_texts(tmp_path):
    linear = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    theirs = model("llama", rope_parameters=linear)
    path = written(tmp_path / "a.gguf", theirs, llama__rope__scaling__type="linear", llama__rope__scaling__factor=2.0)
    same_scores(path, theirs)
    scaled = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    theirs = model("llama", rope_parameters={**scaled, "original_max_position_embeddings": 8192})
    factors = (5e5 ** -(torch.arange(0, 16, 2).float() / 16)) / theirs.model.rotary_emb.inv_freq
    assert factors.max() == pytest.approx(8) and factors.min() == pytest.approx(1)
    for name, change in (("b", 0.0), ("c", 0.5)):
        packed = {"rope_freqs.weight": ((factors + change).numpy(), Kind.F32)}
        written(tmp_path / f"{name}.gguf", theirs, packed=packed)
    same_scores(tmp_path / "b.gguf", theirs)
    with pytest.raises(ValueError, match=r"c\.gguf: it scales its rotary positions by rope_freqs.weight otherwise"):
        pretrained.load(tmp_path / "c.gguf")


@pytest.fixture(scope="module")
def talking(tmp_path_factory):
    """A file with a vocabulary of bytes as Qwen2 has it, and the reference's model and tokenizer."""
    tokenizer = vocabularies.KINDS["Qwen2"]()
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    vocab, specials = tokenizer.get_vocab(), {each["id"] for each in described["added_tokens"] if each["special"]}
    tokens = sorted(vocab, key=vocab.__getitem__)
    theirs = model("qwen2", vocab_size=len(tokens))
    path = written(
        tmp_path_factory.mktemp("talking") / "it.gguf",
        theirs,
        tokens={
            "tokenizer_model": "gpt2",
            "tokenizer_pre": "qwen2",
            "token_list": tokens,
            "token_types": [3 if i in specials else 1 for i in range(len(tokens))],
            "token_merges": [" ".join(each) for each in described["model"]["merges"]],
            "eos_token_id": vocab["<|im_end|>"],
            "chat_template": tokenizer.chat_template,
        },
    )
    return path, theirs, tokenizer


def test_a_vocabulary_of_bytes_is_the_reference_s(talking):
    path, _, theirs = talking
    ours = pretrained.load(path).members["causal_lm"].tokenizers["text"]
    for text in vocabularies.TEXTS:
        assert ours(text).values.tolist() == theirs(text)["input_ids"] and ours.decode(ours(text)) == text
    assert ours.stops == (theirs.convert_tokens_to_ids("<|im_end|>"),)


def test_it_writes_is_talked_with_and_goes_on_in_other_formats(talking, tmp_path):
    path, theirs, tokenizer = talking
    loaded = omniformer.load(path.parent)
    (found,) = loaded.generate(["the cat"], strategy=Greedy(), max_new_tokens=8)[0]
    ids = tokenizer("the cat", return_tensors="pt").input_ids
    expected = theirs.generate(ids, do_sample=False, max_new_tokens=8, eos_token_id=None, pad_token_id=0)
    assert list(found.ids) == expected[0, ids.shape[1] :].tolist()[: len(found.ids)]
    talk = [{"role": "user", "content": "the cat"}]
    assert loaded.chat(talk, strategy=Greedy(), max_new_tokens=3).ids
    loaded.save_pretrained(tmp_path / "back")
    back = transformers.Qwen2ForCausalLM.from_pretrained(tmp_path / "back")
    torch.testing.assert_close(back(ids).logits, theirs(ids).logits)
    small = omniformer.load(path, weights="int8")
    assert type(small.model.core.blocks[0].attention.branch.qkv).__name__ == "QuantizedLinear"


def test_a_vocabulary_of_pieces_is_the_one_of_the_library_sentencepiece(tmp_path):
    library = pytest.importorskip("sentencepiece")
    oracle = SentencePieceTokenizer.from_file(vocabularies.llama_pieces(tmp_path), front=["<s>"])
    pieces = library.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    n = pieces.vocab_size()
    kinds = [
        3 if pieces.is_control(i) else 2 if pieces.is_unknown(i) else 6 if pieces.is_byte(i) else 1 for i in range(n)
    ]
    path = written(
        tmp_path / "it.gguf",
        model("llama", vocab_size=n),
        tokens={
            "tokenizer_model": "llama",
            "token_list": [pieces.id_to_piece(i) for i in range(n)],
            "token_scores": [pieces.get_score(i) for i in range(n)],
            "token_types": kinds,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "unk_token_id": 0,
        },
    )
    ours = pretrained.load(path).members["causal_lm"].tokenizers["text"]
    for text in vocabularies.TEXTS:
        assert ours(text).values.tolist() == oracle(text).values.tolist(), text
    assert ours.stops == (2,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"llama__expert_count": 4}, r"it\.gguf: it has llama.expert_count=4, which is not read"),
        ({"llama__rope__scaling__type": "longrope"}, "rope.scaling.type='longrope'; accepted: none, linear, yarn"),
        ({"llama__rope__scaling__type": "linear"}, "rope.scaling.type='linear' without rope.scaling.factor"),
        ({"llama__rope__dimension_count": 8}, "llama.rope.dimension_count=8; accepted: 16"),
        ({"split__count": 3}, "this is one of 3 files; join them with gguf-split --merge"),
        ({"tokenizer__ggml__model": "bert"}, "tokenizer.ggml.model='bert' is not read; accepted: gpt2, llama"),
        ({"tokenizer__ggml__model": "gpt2"}, "it lacks the list tokenizer.ggml.tokens"),
        (
            {"tokenizer__ggml__model": "gpt2", "tokenizer__ggml__tokens": [1, 2]},
            "the list tokenizer.ggml.tokens of str",
        ),
        (
            {"tokenizer__ggml__model": "gpt2", "tokenizer__ggml__tokens": ["a"], "tokenizer__ggml__merges": ["a b c"]},
            "tokenizer.ggml.merges has 'a b c', which is no pair",
        ),
        (
            {"tokenizer__ggml__model": "llama", "tokenizer__ggml__tokens": ["a"], "tokenizer__ggml__scores": [0.0]}
            | {"tokenizer__ggml__eos_token_id": 7},
            "tokenizer.ggml.eos_token_id=7 is none of its 1 tokens",
        ),
        ({"llama__attention__key_length": 0}, "llama.attention.key_length=0; accepted: one number above 0"),
        ({"llama__attention__key_length": [8, 8]}, r"llama.attention.key_length=\[8, 8\]; accepted: one number"),
        (
            {"tokenizer__ggml__model": "gpt2", "tokenizer__ggml__tokens": ["a"], "tokenizer__ggml__pre": "odd"},
            "tokenizer.ggml.pre='odd' is not read; accepted: gpt-2",
        ),
        (
            {"tokenizer__ggml__model": "gpt2", "tokenizer__ggml__tokens": ["a", "a"]},
            "has 2 tokens, 1 of them different, and 2 types",
        ),
    ],
)
def test_what_is_not_read_is_told_with_the_file(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        pretrained.load(written(tmp_path / "it.gguf", model("llama"), **fields))


def test_a_file_with_a_tensor_too_few_or_of_another_shape_is_named(tmp_path, monkeypatch):
    theirs = model("llama")
    kept = {name: each for name, each in theirs.state_dict().items() if "v_proj" not in name}
    monkeypatch.setattr(theirs, "state_dict", lambda: kept)
    with pytest.raises(ValueError, match=r"it\.gguf lacks model.layers.0.self_attn.v_proj.weight"):
        pretrained.load(written(tmp_path / "it.gguf", theirs))
    writer = gguf.GGUFWriter(tmp_path / "mamba.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ValueError, match="general.architecture='mamba' is not read; accepted: llama, qwen2, qwen3"):
        pretrained.load(tmp_path / "mamba.gguf")
    with pytest.raises(ValueError, match=r"holds it.gguf, mamba.gguf; name the file that is meant"):
        pretrained.load(tmp_path)


def test_without_the_library_plain_types_are_read_and_packed_ones_say_what_is_missing(tmp_path, monkeypatch):
    theirs = model("llama")
    plain, packed = (written(tmp_path / f"{kind.name}.gguf", theirs, kind) for kind in (Kind.F16, Kind.Q8_0))
    monkeypatch.setitem(sys.modules, "gguf", None)
    pretrained.load(plain)
    with pytest.raises(ImportError, match="need the library gguf, not installed here: uv sync --extra gguf"):
        pretrained.load(packed)
