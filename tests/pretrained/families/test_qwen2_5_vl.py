"""Qwen2.5-VL and Qwen2-VL beside the reference library."""

import json

import pytest
import torch
import vocabularies
from omniformer_tokenizers import Tokens, interleaved
from PIL import Image
from talks import drawn, learns_by_lora, rows_of, talk_about
from twins import counted, saved, shaken, transformers, twin
from vision import as_written, loads_whole, pixels

import omniformer
from omniformer import pretrained
from omniformer.batch import Sample, collate
from omniformer.chat import main
from omniformer.data.each_raw import EachRaw
from omniformer.data.table import Table
from omniformer.generation import Greedy, write

PICTURE, FEATURES = 28, 2 * 3 * 4 * 4
SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2}
TEXT = SIZES | {"num_hidden_layers": 2, "vocab_size": 29, "max_position_embeddings": 64}
TEXT |= {"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
ROPE = {"rope_type": "default", "rope_theta": 500.0, "mrope_section": [1, 1, 1]}
VISION = {"depth": 3, "num_heads": 2, "patch_size": 4}
VISION_25 = VISION | {"hidden_size": 16, "intermediate_size": 20, "out_hidden_size": 24, "window_size": 16}
VISION_25 |= {"fullatt_block_indexes": [1]}
VISION_2 = VISION | {"embed_dim": 16, "hidden_size": 24, "mlp_ratio": 2}
CASES = {
    "windows": ("2_5", {}, {}, {}),
    "one window for all, tied": (
        "2_5",
        {"window_size": 64, "fullatt_block_indexes": []},
        {},
        {"tie_word_embeddings": True},
    ),
    "windows of words, and no window of patches": (
        "2_5",
        {"fullatt_block_indexes": [0, 1, 2], "hidden_act": "gelu"},
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
        {},
    ),
    "longer than in training": (
        "2_5",
        {"window_size": 24, "spatial_merge_size": 3},
        {"rope_parameters": ROPE | {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}},
        {},
    ),
    "Qwen2-VL": ("2", {}, {}, {}),
    "Qwen2-VL, other blocks": ("2", {"spatial_merge_size": 1, "hidden_act": "gelu"}, {}, {"tie_word_embeddings": True}),
}
QUICK = ("windows",)


def config_of(case=QUICK[0]):
    age, vision, text, others = CASES[case]
    kind = transformers.Qwen2_5_VLConfig if age == "2_5" else transformers.Qwen2VLConfig
    own = {"vision_config": (VISION_25 if age == "2_5" else VISION_2) | vision}
    own["text_config"] = TEXT | {"rope_parameters": ROPE} | text
    return kind(**own, image_token_id=PICTURE, video_token_id=27, vision_start_token_id=26, **others)


def model(case=QUICK[0]):
    config = config_of(case)
    named = "Qwen2_5_VLForConditionalGeneration" if CASES[case][0] == "2_5" else "Qwen2VLForConditionalGeneration"
    return getattr(transformers, named)(config)


def given(rows, grids, block, seed=0):
    """Keyword tensors: texts in which each -1 is the next picture, padded, and pixels of pictures of these patches."""
    waiting = iter([t * h * w // block**2 for t, h, w in grids])
    texts = [[k for i in row for k in ([PICTURE] * next(waiting) if i == -1 else [i])] for row in rows]
    longest = max(map(len, texts))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in texts])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in texts])
    n_patches = sum(t * h * w for t, h, w in grids)
    kinds = (ids == PICTURE).long()
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "pixel_values": pixels(n_patches, FEATURES, seed=seed),
        "image_grid_thw": torch.tensor(grids),
        "mm_token_type_ids": kinds,
    }


def inputs(block):
    """Two pictures in a text, one at its end, one of several frames, and a text without; padded."""
    grids = [(1, 3 * block, 2 * block), (1, 5 * block, 4 * block), (2, block, 3 * block)]
    return given([[1, 5, -1, 7, -1, 9, 4], [1, 3, 8, -1], [6, 2, 11]], grids, block)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.quick(*QUICK)
def test_logits_gradients_what_is_written_and_the_way_back(case, tmp_path):
    theirs = model(case)
    block = theirs.config.vision_config.spatial_merge_size
    batch = inputs(block)
    loaded = twin(theirs, tmp_path, lambda out: out.logits, batch, batch["attention_mask"], as_filed=as_written(theirs))
    assert not loaded.report.unexpected
    written = json.loads((tmp_path / "theirs/config.json").read_text())
    assert counted(written) == sum(each.numel() for each in theirs.parameters())
    writes_alike(theirs, loaded, block)


def writes_alike(theirs, loaded, block, new=8):
    """What both write behind pictures over a cache is the same, id for id; both rows at once, and each by itself."""
    rows = [[1, 5, -1, 7, -1, 9, 4], [1, -1, 3]]
    grids = [(1, 3 * block, 2 * block), (1, block, block), (1, 2 * block, 5 * block)]
    samples, expected = [], []
    for i, (row, own) in enumerate(zip(rows, (grids[:2], grids[2:]), strict=True)):
        batch = given([row], own, block, seed=4 + i)
        whole = theirs.generate(**batch, do_sample=False, max_new_tokens=new, eos_token_id=None, pad_token_id=0)
        expected.append(tuple(whole[0, batch["input_ids"].shape[1] :].tolist()))
        waiting = pretrained.as_reference(loaded)._pictures(batch["pixel_values"], batch["image_grid_thw"])
        ids = torch.tensor([PICTURE if k == -1 else k for k in row])
        text = Tokens(values=ids, positions=torch.arange(float(len(row)))[:, None], modality="text")
        *pieces, last = interleaved(text, {"vision": waiting}, {"vision": PICTURE})
        samples.append(Sample(id=str(i), pieces=pieces, answer=[last]))
    for cache in ("growing", "none"):
        found = write(loaded.model, "causal_lm", collate(samples), max_new_tokens=new, strategy=Greedy(), cache=cache)
        assert [answers[0].ids for answers in found] == expected


# Qwen2.5's own template without its lines for videos, and told which words are the assistant's.
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "a cat.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['role'] == 'assistant' %}"
    "{% generation %}{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}{{ content['text'] }}{% endfor %}{% endif %}<|im_end|>{% endgeneration %}"
    "{% elif message['content'] is string %}{{ message['content'] }}<|im_end|>{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>"
    "{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKS = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def seeing(folder):
    """A tiny Qwen2.5-VL of the reference in a folder with vocabulary, template and processor; and its processor."""
    tokenizer = vocabularies.KINDS["Qwen2"]()
    tokenizer.add_special_tokens({"extra_special_tokens": MARKS})
    config = config_of()
    config.image_token_id = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    config.video_token_id = tokenizer.convert_tokens_to_ids("<|video_pad|>")
    config.text_config.vocab_size, config.text_config.max_position_embeddings = len(tokenizer), 512
    config.text_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    theirs = shaken(transformers.Qwen2_5_VLForConditionalGeneration(config))
    theirs.generation_config.eos_token_id = config.text_config.eos_token_id
    pictures = transformers.Qwen2VLImageProcessor(patch_size=4, size={"shortest_edge": 8 * 8, "longest_edge": 24 * 24})
    video = transformers.Qwen2VLVideoProcessor(patch_size=4)
    processor = transformers.Qwen2_5_VLProcessor(pictures, tokenizer, video, chat_template=TEMPLATE)
    processor.save_pretrained(saved(theirs, folder))
    return theirs, processor


SHAPES = [(20, 14), (9, 61), (40, 33), (3, 5), (24, 24)]


def test_pictures_are_prepared_as_by_the_reference_whatever_their_size(tmp_path):
    _, processor = seeing(tmp_path)
    tokenizer = pretrained.load(tmp_path).members["causal_lm"].tokenizers["vision"]
    pictures = [Image.open(drawn(tmp_path / f"{i}.png", 20 * i, size)) for i, size in enumerate(SHAPES)]
    theirs = processor.image_processor(images=pictures, return_tensors="pt")
    ours = tokenizer.encode_batch(pictures)
    assert torch.equal(torch.cat([each.values for each in ours]).reshape(-1, FEATURES), theirs["pixel_values"])
    for each, (_, rows, columns) in zip(ours, theirs["image_grid_thw"].tolist(), strict=True):
        assert (each.positions.amax(0) + 1).tolist() == [1, rows // 2, columns // 2]


@pytest.mark.slow
def test_a_conversation_with_pictures_is_answered_as_by_the_reference(tmp_path):
    theirs, processor = seeing(tmp_path)
    files = [drawn(tmp_path / f"{i}.png", 90 * i, size) for i, size in enumerate(SHAPES[:3])]
    talk = talk_about(*files)
    text = processor.apply_chat_template(talk, add_generation_prompt=True)
    batch = processor(text=text, images=[Image.open(each) for each in files], return_tensors="pt")
    expected = theirs.generate(**batch, do_sample=False, max_new_tokens=6)[0, batch["input_ids"].shape[1] :].tolist()
    loaded = pretrained.load(tmp_path)
    found = loaded.chat(talk, strategy=Greedy(), max_new_tokens=6)
    assert list(found.ids) == [i for i in expected if i != theirs.generation_config.eos_token_id]
    turned = talk_about(files[1], files[0], files[2])
    assert loaded.chat(turned, strategy=Greedy(), max_new_tokens=6).ids != found.ids
    omniformer.save(tmp_path / "ours", loaded, recipe=loaded.recipe)
    again = omniformer.load(tmp_path / "ours")
    assert again.chat(talk, strategy=Greedy(), max_new_tokens=6).ids == found.ids
    loaded.save_pretrained(tmp_path / "back")
    assert pretrained.load(tmp_path / "back").chat(talk, strategy=Greedy(), max_new_tokens=6).ids == found.ids


@pytest.mark.slow
def test_the_command_talks_about_a_picture_as_python_does(tmp_path, capsys):
    seeing(tmp_path)
    picture = drawn(tmp_path / "1.png", 90)
    main([str(tmp_path), "a dog", "--image", picture, "--temperature", "0", "--max-new-tokens", "5"])
    one = [{"role": "user", "content": [{"type": "image", "path": picture}, {"type": "text", "text": "a dog"}]}]
    said = pretrained.load(tmp_path).chat(one, strategy=Greedy(), max_new_tokens=5)
    assert capsys.readouterr().out.rstrip("\n") == said.content.rstrip("\n")


def test_rows_with_pictures_teach_the_assistant_s_words_in_the_reference_s_order(tmp_path):
    _, processor = seeing(tmp_path / "model")
    table = Table(train=str(rows_of(tmp_path, SHAPES[:3])), columns={"talk": "messages"}, shares=(1.0, 0.0, 0.0))
    tokenizers = pretrained.load(tmp_path / "model").members["causal_lm"].tokenizers
    sample = EachRaw(table.split("train"), tokenizers, name="talks", seed=0)(0, 1)
    ids = [k for each in sample.pieces for k in (each.values.tolist() if each.modality == "text" else [-1] * len(each))]
    talk = json.loads((tmp_path / "talks.jsonl").read_text().splitlines()[1])["talk"]
    pictures = [Image.open(tmp_path / f"{i}.png") for i in (1, 0)]
    whole = processor(text=processor.apply_chat_template(talk), images=pictures)["input_ids"][0]
    assert ids == [-1 if k == processor.image_token_id else k for k in whole][: len(ids)]
    learned = [k for k, counts in zip(ids, sample.token_targets["mask"].tolist(), strict=True) if counts]
    assert processor.tokenizer.decode(learned) == "a dog<|im_end|>"


@pytest.mark.slow
def test_lora_learns_what_pictures_show_and_the_way_back_is_open(tmp_path):
    seeing(tmp_path / "model")
    learns_by_lora(tmp_path, SHAPES[:3])
    loads_whole(transformers.Qwen2_5_VLForConditionalGeneration, tmp_path / "back")


def test_older_files_name_the_language_model_s_sizes_beside_the_pictures(tmp_path):
    """As Qwen2-VL and Qwen2.5-VL were published: no `text_config`, and rotary positions of the type "mrope"."""
    theirs = shaken(model())
    config = json.loads((saved(theirs, tmp_path) / "config.json").read_text())
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    config |= text | {"rope_theta": rope["rope_theta"], "model_type": "qwen2_5_vl"}
    config["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    batch = inputs(2)
    loaded = pretrained.load(tmp_path)
    mask = batch["attention_mask"].bool()
    found = pretrained.as_reference(loaded)(**batch).logits
    torch.testing.assert_close(found[mask], theirs(**batch).logits[mask], rtol=1.3e-6, atol=1e-5)
    pretrained.resize_vocabulary(loaded, 32)
    loaded.save_pretrained(tmp_path / "back")
    assert loads_whole(type(theirs), tmp_path / "back").config.text_config.vocab_size == 32


@pytest.mark.parametrize(
    ("part", "changed", "message"),
    [
        (
            "vision_config",
            {"out_hidden_size": 16},
            "the tower gives vectors of 16 numbers, text_config has hidden_size=24",
        ),
        ("vision_config", {"window_size": 4}, "window_size=4, in which no block of patches fits"),
        ("vision_config", {"hidden_act": "mish"}, "vision_config has hidden_act='mish'; accepted: relu"),
        ("text_config", {"rope_parameters": ROPE | {"mrope_section": [3]}}, r"mrope_section=\[3\]; accepted: time"),
    ],
)
def test_what_is_not_expressed_is_refused(part, changed, message):
    config = config_of().to_dict()
    config[part].update(changed)
    with pytest.raises(ValueError, match=message):
        _ = pretrained.family_of(config).recipe


def test_other_sizes_of_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"image_size=\(8, 8\): Qwen2_5_VLFor.* reads pictures of any size"):
        pretrained.load(saved(shaken(model()), tmp_path), image_size=(8, 8))


def test_pictures_that_do_not_fit_their_places_are_refused(tmp_path):
    reference = pretrained.as_reference(pretrained.load(saved(shaken(model()), tmp_path)))
    batch = inputs(2)
    with pytest.raises(ValueError, match="image_grid_thw names 128 patches, pixel_values holds 127; give both"):
        reference(**batch | {"pixel_values": batch["pixel_values"][1:]})
    less = {"pixel_values": batch["pixel_values"][:24], "image_grid_thw": batch["image_grid_thw"][:1]}
    with pytest.raises(ValueError, match="row 0 of input_ids has 20 places for a picture of 0 blocks of patches"):
        reference(**batch | less)
    with pytest.raises(ValueError, match="mm_token_type_ids must be 1 where input_ids hold 28"):
        reference(**batch | {"mm_token_type_ids": 2 * batch["mm_token_type_ids"]})
