"""Class tokens before the tokens of an image or a sound."""

import json

import omniformer_tokenizers as ot
import pytest
import torch

PATCHES = ot.PatchTokenizer(patch_size=4)


def test_class_tokens_are_numbered_and_without_content():
    picture = torch.rand(3, 8, 8)
    tokens, bare = ot.ClassTokens(tokenizer=PATCHES, n=2)(picture), PATCHES(picture)
    assert tokens.features["class_token"].tolist() == [1, 2, 0, 0, 0, 0]
    assert not tokens.values[:2].any()
    assert not tokens.positions[:2].any()
    assert torch.equal(tokens.values[2:], bare.values)
    assert torch.equal(tokens.positions[2:], bare.positions)
    assert torch.equal(tokens.facts["size"], bare.facts["size"])


def test_features_of_the_tokenizer_inside_stay():
    inside = ot.MultiScaleTokenizer(scales=(1, 4))
    sound = torch.randn(1600)
    tokens = ot.ClassTokens(tokenizer=inside)(sound)
    assert tokens.features["scale"].tolist() == [0, *inside(sound).features["scale"].tolist()]


def test_decoding_leaves_class_tokens_out_whether_they_are_there_or_not():
    picture = torch.randint(0, 256, (3, 8, 12), dtype=torch.uint8)
    tokenizer = ot.ClassTokens(tokenizer=PATCHES)
    assert torch.equal(tokenizer.decode(tokenizer(picture)), picture)
    assert torch.equal(tokenizer.decode(PATCHES(picture)), picture)


def test_facts_name_the_number_for_an_embedder():
    assert ot.ClassTokens(tokenizer=PATCHES, n=2).facts == {**PATCHES.facts, "n_class_tokens": 2}


def test_class_tokens_may_stand_before_class_tokens_of_a_saved_folder(tmp_path):
    inside = ot.PatchTokenizer(patch_size=4, resize=ot.Resampling(size=(8, 12)), mean=(0.1, 0.2, 0.3))
    ot.ClassTokens(tokenizer=inside, n=3).save_pretrained(tmp_path)
    again = ot.load(tmp_path)
    assert isinstance(again.tokenizer.resize, ot.Resampling)
    assert len(again(torch.rand(3, 5, 5))) == 3 + 6


def test_ids_and_graphs_have_none():
    with pytest.raises(ValueError, match="ByteTokenizer makes ids, which have special tokens"):
        ot.ClassTokens(tokenizer=ot.ByteTokenizer())
    with pytest.raises(ValueError, match="n=0 is too small"):
        ot.ClassTokens(tokenizer=PATCHES, n=0)
    nodes = ot.ClassTokens(tokenizer=ot.GraphTokenizer(node_features=1, node_vocab_sizes=()))
    with pytest.raises(ValueError, match="graph: class tokens have no edges .*virtual_node=True"):
        nodes({"n_nodes": 2, "edges": [[0, 1]], "node_features": [[0.5], [1.0]]})


def test_a_damaged_folder_is_told(tmp_path):
    ot.ClassTokens(tokenizer=PATCHES).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(saved | {"inside": {"tokenizer": "Path"}}))
    with pytest.raises(ValueError, match="does not describe a ClassTokens: 'Path', which is not a tokenizer"):
        ot.load(tmp_path)
