"""CLIP beside the reference library."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from omniformer_tokenizers import Tokenizer
from omniformer_tokenizers.text.base import text_tokens
from torch.nn.utils.rnn import pad_sequence
from twins import LOGITS, ragged_ids, saved, shaken, transformers, twin
from vision import count, loads_whole, pixels

from omniformer import pretrained

END, PAD = 28, 1
TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "vocab_size": 29,
    "max_position_embeddings": 12,
    "bos_token_id": 0,
    "eos_token_id": END,
    "pad_token_id": PAD,
    "projection_dim": 10,
}
VISION = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 32,
    "image_size": 16,
    "patch_size": 4,
    "projection_dim": 10,
}


def model(text=None, vision=None, **others):
    config = {"text_config": TEXT | (text or {}), "vision_config": VISION | (vision or {}), "projection_dim": 10}
    # Similarities times 1 and not 14: float32 rounds gradients at 1e-7 of their size, which the factor multiplies.
    config["logit_scale_init_value"] = 0.0
    return transformers.CLIPModel(transformers.CLIPConfig(**(config | others)))


def texts(lengths=(7, 2, 12), end=END, pad=PAD):
    """Ids of texts that end, padded behind it, and the mask."""
    ids, mask = ragged_ids(end, lengths, least=2)
    rows = torch.arange(len(lengths))
    ids[rows, torch.tensor(lengths) - 1] = end
    return torch.where(mask.bool(), ids, pad), mask


def inputs(n_images=2, **others):
    ids, mask = texts(**others)
    return {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels(n_images, 3, 16, 16)}


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"text": {"num_hidden_layers": 3, "hidden_act": "gelu"}, "vision": {"num_hidden_layers": 1, "patch_size": 8}},
        {
            "text": {"layer_norm_eps": 1e-3},
            "vision": {"layer_norm_eps": 1e-2, "hidden_act": "relu", "hidden_size": 16 * 3},
        },
        {"projection_dim": 33, "logit_scale_init_value": 0.5},
    ],
    ids=["plain", "depths", "norms", "projection"],
)
@pytest.mark.parametrize("output", ["logits_per_image", "logits_per_text"])
def test_similarities_gradients_and_the_way_back(others, output, tmp_path):
    theirs = model(**others)
    twin(theirs, tmp_path, lambda out: getattr(out, output), inputs())
    loads_whole(type(theirs), tmp_path / "ours")


@pytest.mark.parametrize("output", ["image_embeds", "text_embeds"])
def test_vectors_in_the_common_space(output, tmp_path):
    twin(model(), tmp_path, lambda out: getattr(out, output), inputs())


@pytest.mark.parametrize("pad", [PAD, END], ids=["padding of its own", "padded with the end"])
def test_padding_needs_no_mask(pad, tmp_path):
    theirs = shaken(model())
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))
    given = inputs(pad=pad)
    del given["attention_mask"]
    torch.testing.assert_close(ours(**given).text_embeds, theirs(**given).text_embeds, **LOGITS)


def test_older_configurations_end_a_text_with_its_largest_id(tmp_path):
    theirs = shaken(model(text={"eos_token_id": 2}))
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))
    given = inputs()
    torch.testing.assert_close(ours(**given).text_embeds, theirs(**given).text_embeds, **LOGITS)


def test_a_text_without_an_end_is_told(tmp_path):
    ours = pretrained.as_reference(pretrained.load(saved(model(), tmp_path)))
    given = inputs()
    given["input_ids"][1] = 5
    with pytest.raises(ValueError, match="row 1 of input_ids has no end of text, eos_token_id=28"):
        ours(**given)


def test_other_image_sizes_stretch_the_positions_as_the_reference_does(tmp_path):
    theirs = shaken(model())
    resized = pretrained.load(saved(theirs, tmp_path / "theirs"), image_size=(24, 12))
    given = inputs() | {"pixel_values": pixels(2, 3, 24, 12)}
    expected = theirs(**given, interpolate_pos_encoding=True).image_embeds
    torch.testing.assert_close(pretrained.as_reference(resized)(**given).image_embeds, expected, **LOGITS)
    in_a_call = pretrained.as_reference(pretrained.load(tmp_path / "theirs"))
    found = in_a_call(**given, interpolate_pos_encoding=True).image_embeds
    torch.testing.assert_close(found, expected, **LOGITS)
    with pytest.raises(ValueError, match="pixel_values have size"):
        in_a_call(**given)


def test_a_model_of_another_square_goes_back_to_the_reference(tmp_path):
    theirs = shaken(model())
    pretrained.load(saved(theirs, tmp_path / "theirs"), image_size=(24, 24)).save_pretrained(tmp_path / "ours")
    given = inputs() | {"pixel_values": pixels(2, 3, 24, 24)}
    again = loads_whole(type(theirs), tmp_path / "ours")
    expected = theirs(**given, interpolate_pos_encoding=True).image_embeds
    torch.testing.assert_close(again(**given).image_embeds, expected, **LOGITS)


def test_similarities_grow_by_the_learned_scale(tmp_path):
    theirs = shaken(model(logit_scale_init_value=2.6592))
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))
    torch.testing.assert_close(ours(**inputs()).logits_per_text, theirs(**inputs()).logits_per_text, **LOGITS)


@pytest.mark.parametrize("output", ["image_embeds", "last_hidden_state"])
def test_the_image_tower_alone(output, tmp_path):
    theirs = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**VISION))
    twin(theirs, tmp_path, lambda out: getattr(out, output), {"pixel_values": pixels(2, 3, 16, 16)})
    loads_whole(type(theirs), tmp_path / "ours")


@pytest.mark.parametrize("output", ["text_embeds", "last_hidden_state"])
def test_the_text_tower_alone(output, tmp_path):
    theirs = transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**TEXT))
    ids, mask = texts()
    rows = mask if output == "last_hidden_state" else None
    twin(theirs, tmp_path, lambda out: getattr(out, output), {"input_ids": ids, "attention_mask": mask}, rows)
    loads_whole(type(theirs), tmp_path / "ours")


def test_the_published_model_has_the_published_number_of_weights():
    assert count({"model_type": "clip"}) == 151_277_313


class Letters(Tokenizer):
    """Texts of the twin's vocabulary: letters, then the end."""

    modality = "text"
    facts: ClassVar = {"vocab_size": 29, "axes": 1}

    def __call__(self, raw):
        return text_tokens(torch.tensor([2 + ord(letter) - ord("a") for letter in raw] + [END]))

    def config(self):
        return {}


def test_pictures_and_texts_are_embedded_into_one_space(tmp_path):
    theirs = shaken(model())
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16)
    processor.save_pretrained(tmp_path)
    loaded = pretrained.load(saved(theirs, tmp_path))
    (member,) = loaded.members.values()
    with_texts = replace(member, tokenizers={**member.tokenizers, "text": Letters()})
    ours = pretrained.Pretrained(loaded.model, {"contrastive": with_texts}, family=loaded.family)
    pictures = [torch.randint(0, 256, (3, 20, 31), dtype=torch.uint8), torch.zeros(3, 40, 16, dtype=torch.uint8)]
    words = ["cat", "elephant", "ox"]
    ids = pad_sequence([Letters()(word).values for word in words], batch_first=True, padding_value=END)
    expected = theirs(
        input_ids=ids,
        attention_mask=(torch.arange(ids.shape[1]) <= torch.tensor([[len(word)] for word in words])).long(),
        pixel_values=processor(pictures, return_tensors="pt")["pixel_values"],
    )
    found = ours.embed([pictures[0], *words, pictures[1]])
    torch.testing.assert_close(found[[0, 4]], expected.image_embeds, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1:4], expected.text_embeds, **LOGITS)
