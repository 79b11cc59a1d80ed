"""SigLIP and SigLIP 2, towers together and alone, beside the reference library."""

import json

import pytest
import torch
import vocabularies
from PIL import Image
from twins import LOGITS, ragged_ids, saved, shaken, transformers, twin
from vision import loads_whole, pixels

import omniformer
from omniformer import pretrained
from omniformer.predict import main

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
PICTURES = {"image_size": 16, "patch_size": 4}
TEXTS = {"vocab_size": 29, "max_position_embeddings": 12}


def model(**others):
    return transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**(SIZES | PICTURES | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("output", "others", "channels"),
    [
        ("pooler_output", {}, 3),
        ("pooler_output", {"num_channels": 1, "hidden_act": "relu", "layer_norm_eps": 1e-3}, 1),
        ("last_hidden_state", {"vision_use_head": False, "num_hidden_layers": 1, "patch_size": 8}, 3),
    ],
    ids=["pooled", "grey", "without a head"],
)
def test_outputs_gradients_and_the_way_back(output, others, channels, tmp_path):
    inputs = {"pixel_values": pixels(2, channels, 16, 16)}
    twin(model(**others), tmp_path, lambda out: getattr(out, output), inputs)
    loads_whole(transformers.SiglipVisionModel, tmp_path / "ours")


@pytest.mark.parametrize("size", [(24, 24), (8, 28)], ids=str)
def test_other_image_sizes_stretch_the_positions_as_the_reference_does(size, tmp_path):
    theirs = shaken(model())
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path), image_size=size))
    images = pixels(2, 3, *size)
    expected = theirs(pixel_values=images, interpolate_pos_encoding=True).pooler_output
    torch.testing.assert_close(ours(pixel_values=images).pooler_output, expected, **LOGITS)
    in_a_call = pretrained.as_reference(pretrained.load(tmp_path))(pixel_values=images, interpolate_pos_encoding=True)
    torch.testing.assert_close(in_a_call.pooler_output, expected, **LOGITS)


def test_pictures_are_prepared_as_its_processor_does(tmp_path):
    theirs = shaken(model())
    processor = transformers.SiglipImageProcessor(size={"height": 16, "width": 16})
    processor.save_pretrained(saved(theirs, tmp_path))
    picture = Image.linear_gradient("L").resize((31, 20)).convert("RGB")
    expected = theirs(pixel_values=processor(picture, return_tensors="pt")["pixel_values"]).last_hidden_state.mean(1)
    found = pretrained.load(tmp_path).embed([picture], pool="mean")
    normalize = torch.nn.functional.normalize
    torch.testing.assert_close(normalize(found, dim=-1), normalize(expected, dim=-1), rtol=1e-4, atol=1e-4)


def pair(text=None, vision=None, **others):
    texts, pictures = SIZES | TEXTS | (text or {}), SIZES | PICTURES | (vision or {})
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=texts, vision_config=pictures, **others))


def inputs():
    """Texts with what pads them, all of which is read."""
    ids, mask = ragged_ids(29, least=2)
    return {"input_ids": torch.where(mask.bool(), ids, 1), "pixel_values": pixels(2, 3, 16, 16)}


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"text": {"num_hidden_layers": 1, "hidden_act": "gelu", "hidden_size": 32, "num_attention_heads": 4,
                  "projection_size": 24}},
        {"vision": {"num_hidden_layers": 1, "layer_norm_eps": 1e-3, "patch_size": 8, "hidden_act": "relu"}},
    ],
    ids=["plain", "a narrower text", "other pictures"],
)  # fmt: skip
@pytest.mark.parametrize("output", ["logits_per_image", "logits_per_text"])
def test_similarities_gradients_and_the_way_back(others, output, tmp_path):
    theirs = pair(**others)
    twin(theirs, tmp_path, lambda out: getattr(out, output), inputs())
    loads_whole(type(theirs), tmp_path / "ours")


@pytest.mark.parametrize("output", ["pooler_output", "last_hidden_state"])
def test_the_tower_of_texts_alone(output, tmp_path):
    theirs = transformers.SiglipTextModel(transformers.SiglipTextConfig(**(SIZES | TEXTS | {"projection_size": 10})))
    twin(theirs, tmp_path, lambda out: getattr(out, output), {"input_ids": inputs()["input_ids"]})
    loads_whole(type(theirs), tmp_path / "ours")


def test_a_mask_is_followed_as_far_as_the_last_place_is_seen(tmp_path):
    theirs = shaken(pair())
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))
    ids, mask = ragged_ids(29, side="left")
    given = inputs() | {"input_ids": ids, "attention_mask": mask}
    torch.testing.assert_close(ours(**given).text_embeds, theirs(**given).text_embeds, **LOGITS)
    with pytest.raises(ValueError, match="leaves out the last place of row 0, of which SigLIP reads"):
        ours(**(given | {"attention_mask": mask.flip(1)}))


def test_the_scale_is_not_bounded_in_training(tmp_path):
    theirs = shaken(pair())
    with torch.no_grad():
        theirs.logit_scale.fill_(4.8)  # of 117 in the published files, where CLIP's never exceeds 100
    head = pretrained.load(saved(theirs, tmp_path)).model.train().heads["contrastive"]
    assert head.scale().item() == pytest.approx(121.5, abs=0.1)


def compared(folder, kind):
    """A tiny pair of the reference with all its files in a folder; and its tokenizer."""
    if kind == "SigLIP":
        vocabularies.pieces(folder / "spiece.model", vocab_size=120, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
        tokenizer = transformers.SiglipTokenizer(str(folder / "spiece.model"))
    else:
        llama = vocabularies.llama()
        described = json.loads(llama.backend_tokenizer.to_str())["model"]
        names = {"<pad>": len(llama), "<eos>": len(llama) + 1, "<bos>": len(llama) + 2, "<mask>": len(llama) + 3}
        merges = [tuple(each) for each in described["merges"]]
        tokenizer = transformers.Siglip2Tokenizer(
            vocab=described["vocab"] | names, merges=merges, padding_side="right", add_eos_token=True
        )
    tokenizer.save_pretrained(folder)
    processor = transformers.SiglipImageProcessor(size={"height": 16, "width": 16})
    processor.save_pretrained(folder)
    theirs = shaken(pair(text={"vocab_size": len(tokenizer), "max_position_embeddings": 64}))
    with torch.no_grad():
        theirs.logit_scale.fill_(2.0)
        theirs.logit_bias.fill_(-1.0)
    saved(theirs, folder)
    return theirs, transformers.AutoTokenizer.from_pretrained(folder), processor


@pytest.mark.parametrize("kind", ["SigLIP", "SigLIP 2"])
def test_texts_become_the_ids_of_the_reference_padding_included(kind, tmp_path):
    _, tokenizer, _ = compared(tmp_path, kind)
    (member,) = pretrained.load(tmp_path).members.values()
    ours = member.tokenizers["text"]
    for text in [*vocabularies.TEXTS, "a photo of {two} cats, isn't it?", "the cat " * 3]:
        expected = tokenizer(text, padding="max_length", max_length=64).input_ids
        assert ours(text).values.tolist() == expected, text


@pytest.mark.parametrize("kind", ["SigLIP", "SigLIP 2"])
def test_classes_told_by_words_have_the_scores_of_the_reference(kind, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    theirs, tokenizer, processor = compared(tmp_path / "model", kind)
    picture = Image.linear_gradient("L").resize((31, 20)).convert("RGB")
    picture.save(tmp_path / "photo.png")
    labels = ["a Cat", "the brown fox", "dogs, and " + "the quick brown bird " * 12]
    words = tokenizer(labels, padding="max_length", truncation=True, max_length=64, return_tensors="pt")
    with torch.no_grad():
        pixel_values = processor(picture, return_tensors="pt")["pixel_values"]
        expected = theirs(input_ids=words.input_ids, pixel_values=pixel_values).logits_per_image.sigmoid()[0]
    omniformer.save(tmp_path / "ours", loaded := pretrained.load(tmp_path / "model"), recipe=loaded.recipe)
    for folder in ("model", "ours"):
        main([str(tmp_path / folder), str(tmp_path / "photo.png"), "--labels", *labels, "--json"])
        (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        torch.testing.assert_close(torch.tensor([row["probabilities"][each] for each in labels]), expected, **LOGITS)
