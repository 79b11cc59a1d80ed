"""Folders of the library sentence-transformers: vectors are those of its documentation, computed by hand."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_published import bert
from twins import transformers

import omniformer
from omniformer import pretrained
from omniformer.heads import SentenceHead
from omniformer.pretrained import sentences

TEXTS = ["the cat", "a", "The dog and the cat were here!"]
POOLING = "pooling_mode_"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of BERT without a task, and the reference's model of it."""
    folder = bert(tmp_path_factory.mktemp("bert"), "BertModel")
    return folder, transformers.BertModel.from_pretrained(folder).eval()


def folder_of(source, folder, steps=("Pooling", "Normalize"), pooling=None, dense=None, settings=None, length=None):
    """A folder of the library with these steps."""
    folder.mkdir(exist_ok=True)
    for path in source[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    places = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for i, step in enumerate(steps, start=1):
        places.append({"idx": i, "name": str(i), "path": f"{i}_{step}", "type": f"sentence_transformers.models.{step}"})
    write(folder / "modules.json", places)
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 24, **(pooling or {})})
    if dense is not None:
        write(folder / "2_Dense" / "config.json", dense)
        torch.manual_seed(0)
        weights = {"linear.weight": torch.randn(dense["out_features"], dense["in_features"])}
        if dense.get("bias", True):
            weights["linear.bias"] = torch.randn(dense["out_features"])
        save_file(weights, folder / "2_Dense" / "model.safetensors")
    if settings is not None:
        write(folder / "config_sentence_transformers.json", settings)
    if length is not None:
        write(folder / "sentence_bert_config.json", length)
    return folder


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def theirs(source, texts, length=128):
    """Outputs for each token, text by text."""
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(source[0] / "tokenizer.json"))
    rows = []
    with torch.no_grad():
        for text in texts:
            ids = tokenizer(text).input_ids
            ids = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
            rows.append(source[1](torch.tensor([ids])).last_hidden_state[0])
    return rows


BY_HAND = {
    "cls_token": lambda x: x[0],
    "max_tokens": lambda x: x.max(0).values,
    "mean_tokens": lambda x: x.mean(0),
    "mean_sqrt_len_tokens": lambda x: x.sum(0) / len(x) ** 0.5,
    "weightedmean_tokens": lambda x: (x * torch.arange(1, len(x) + 1)[:, None]).sum(0) / sum(range(1, len(x) + 1)),
    "lasttoken": lambda x: x[-1],
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_every_pooling(kind, source, tmp_path):
    folder = folder_of(source, tmp_path, pooling={f"{POOLING}mean_tokens": False, POOLING + kind: True})
    expected = torch.stack([BY_HAND[kind](x) for x in theirs(source, TEXTS)])
    found = pretrained.load(folder).embed(TEXTS)
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected, dim=-1), rtol=1e-5, atol=1e-6)


def test_poolings_side_by_side_maps_and_no_length_of_one(source, tmp_path):
    dense = {"in_features": 48, "out_features": 5, "activation_function": "torch.nn.modules.activation.Tanh"}
    pooling = {f"{POOLING}mean_tokens": True, f"{POOLING}cls_token": True}
    settings = {"similarity_fn_name": "dot"}
    folder = folder_of(source, tmp_path, ("Pooling", "Dense"), pooling, dense, settings)
    map_ = load_file(folder / "2_Dense" / "model.safetensors")
    pooled = torch.stack([torch.cat([x[0], x.mean(0)]) for x in theirs(source, TEXTS)])
    expected = (pooled @ map_["linear.weight"].T + map_["linear.bias"]).tanh()
    model = pretrained.load(folder)
    torch.testing.assert_close(model.embed(TEXTS), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.similarity(TEXTS, TEXTS[:2]), expected @ expected[:2].T, rtol=1e-5, atol=1e-5)
    assert model.embed([]).shape == (0, 5)


def test_the_newer_spelling_says_the_same(source, tmp_path):
    old = folder_of(source, tmp_path / "old", pooling={f"{POOLING}cls_token": True})
    new = folder_of(source, tmp_path / "new", pooling={"pooling_mode": "cls"})
    assert torch.equal(pretrained.load(old).embed(TEXTS), pretrained.load(new).embed(TEXTS))


@pytest.mark.parametrize("included", [True, False])
def test_prompts(included, source, tmp_path):
    pooling = {f"{POOLING}mean_tokens": True, "include_prompt": included}
    settings = {"prompts": {"query": "the query: ", "document": ""}, "default_prompt_name": "query"}
    model = pretrained.load(folder_of(source, tmp_path, pooling=pooling, settings=settings))
    prompt = "the query: "
    skipped = 0 if included else len(theirs(source, [prompt])[0]) - 1
    rows = theirs(source, [prompt + text for text in TEXTS])
    expected = torch.nn.functional.normalize(torch.stack([x[skipped:].mean(0) for x in rows]), dim=-1)
    torch.testing.assert_close(model.embed(TEXTS), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(model.embed(TEXTS, prompt="query"), model.embed(TEXTS))
    plain = torch.nn.functional.normalize(torch.stack([x.mean(0) for x in theirs(source, TEXTS)]), dim=-1)
    torch.testing.assert_close(model.embed(TEXTS, prompt="document"), plain, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="prompt='passage' is none of this model's prompts: query, document"):
        model.embed(TEXTS, prompt="passage")


def test_long_texts_are_cut_as_the_folder_says_and_counted(source, tmp_path, caplog):
    pooling = {f"{POOLING}mean_tokens": True}
    folder = folder_of(source, tmp_path, pooling=pooling, length={"max_seq_length": 6, "do_lower_case": True})
    with caplog.at_level(logging.WARNING):
        found = pretrained.load(folder).embed(TEXTS)
    assert "of which 6 are read); truncate=False" in caplog.text
    rows = theirs(source, [text.lower() for text in TEXTS], length=6)
    expected = torch.nn.functional.normalize(torch.stack([x.mean(0) for x in rows]), dim=-1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_folder_comes_back_whole_and_our_own_format_keeps_the_vectors(source, tmp_path):
    dense = {"in_features": 24, "out_features": 7, "bias": False, "activation_function": "torch.nn.Identity"}
    pooling = {f"{POOLING}lasttoken": True}
    folder = folder_of(source, tmp_path / "theirs", ("Pooling", "Dense", "Normalize"), pooling, dense, {"prompts": {}})
    model = pretrained.load(folder)
    vectors = model.embed(TEXTS)
    model.save_pretrained(tmp_path / "back")
    assert names_in(folder) == names_in(tmp_path / "back")
    assert torch.equal(pretrained.load(tmp_path / "back").embed(TEXTS), vectors)
    before, after = (load_file(each / "model.safetensors") for each in (folder, tmp_path / "back"))
    after = {name.removeprefix("bert."): tensor for name, tensor in after.items()}
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    omniformer.save(tmp_path / "ours", model, recipe=model.recipe)
    assert torch.equal(omniformer.load(tmp_path / "ours").embed(TEXTS), vectors)


@pytest.mark.parametrize(
    ("steps", "pooling", "message"),
    [
        (("Pooling", "CNN"), {"pooling_mode": "cls"}, "a step 'sentence_transformers.models.CNN'; accepted: Pooling"),
        (("Normalize",), {}, "has no Pooling"),
        (("Pooling",), {}, "pools by nothing; accepted: pooling_mode_cls_token"),
        (("Pooling",), {"pooling_mode_lucky_token": True}, r"pools by \['pooling_mode_lucky_token'\]"),
        (("Pooling",), {"pooling_mode": "cls", "include_prompt": False}, "include_prompt=false with FirstToken"),
    ],
)
def test_what_is_not_known_is_refused_by_name(steps, pooling, message, source, tmp_path):
    with pytest.raises(ValueError, match=message):
        pretrained.load(folder_of(source, tmp_path, steps, pooling))


def test_a_model_without_prompts_says_so(source):
    model = pretrained.load(source[0])
    with pytest.raises(ValueError, match="prompt='query': this model has no prompts"):
        model.embed(TEXTS, prompt="query")
    assert not any(isinstance(head, SentenceHead) for head in model.model.heads.values())
    assert sentences.HEAD not in model.members
