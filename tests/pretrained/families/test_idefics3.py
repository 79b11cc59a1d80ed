"""Idefics3 and SmolVLM beside the reference library."""

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

PICTURE, SIDE = 28, 16
SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2}
TEXT = SIZES | {"model_type": "llama", "num_hidden_layers": 2, "vocab_size": 29, "max_position_embeddings": 128}
TEXT |= {"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
VISION = {"hidden_size": 16, "intermediate_size": 20, "num_attention_heads": 2, "num_hidden_layers": 2}
VISION |= {"image_size": SIDE, "patch_size": 4}
CASES = {
    "Idefics3": ("Idefics3", {}, {}, {}),
    "SmolVLM, tied": ("SmolVLM", {}, {}, {"tie_word_embeddings": True}),
    "larger blocks, tiles that hold no whole number of patches": (
        "SmolVLM",
        {"image_size": 19, "patch_size": 3, "hidden_act": "gelu"},
        {"model_type": "qwen2"},
        {"scale_factor": 3},
    ),
}
QUICK = ("Idefics3",)


def config_of(case=QUICK[0]):
    kind, vision, text, others = CASES[case]
    own = {"vision_config": VISION | vision, "text_config": TEXT | text}
    return getattr(transformers, f"{kind}Config")(**own, image_token_id=PICTURE, **{"scale_factor": 2} | others)


def model(case=QUICK[0]):
    return getattr(transformers, f"{CASES[case][0]}ForConditionalGeneration")(config_of(case))


def inputs(config):
    """Two tiles in a text, one at its end, and a text without; padded."""
    vision, n = config.vision_config, (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    one = [PICTURE] * (n // config.scale_factor**2)
    rows = [[1, 5, *one, 7, *one, 9, 4], [1, 3, 8, *one], [6, 2, 11]]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    tiles = pixels(3, 2, 3, vision.image_size, vision.image_size)
    tiles[1, 1], tiles[2] = 0, 0  # padding
    return {"input_ids": ids, "attention_mask": mask, "pixel_values": tiles}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.quick(*QUICK)
def test_logits_gradients_what_is_written_and_the_way_back(case, tmp_path):
    theirs = model(case)
    given = inputs(theirs.config)
    loaded = twin(theirs, tmp_path, lambda out: out.logits, given, given["attention_mask"], as_filed=as_written(theirs))
    assert not loaded.report.unexpected
    written = json.loads((tmp_path / "theirs/config.json").read_text())
    assert counted(written) == sum(each.numel() for each in theirs.parameters())
    writes_alike(theirs, loaded)


def writes_alike(theirs, loaded, new=8):
    """What both write behind tiles over a cache is the same, id for id."""
    given = inputs(theirs.config)
    ids, tiles = given["input_ids"][:1], given["pixel_values"][:1]
    mask, options = torch.ones_like(ids), {"eos_token_id": None, "pad_token_id": 0}
    whole = theirs.generate(input_ids=ids, pixel_values=tiles, attention_mask=mask, max_new_tokens=new, **options)
    waiting = pretrained.as_reference(loaded)._pictures(tiles[0])
    short = torch.tensor([1, 5, PICTURE, 7, PICTURE, 9, 4])
    text = Tokens(values=short, positions=torch.arange(7.0)[:, None], modality="text")
    *pieces, last = interleaved(text, {"vision": waiting}, {"vision": PICTURE})
    batch = collate([Sample(id="0", pieces=pieces, answer=[last])])
    found = write(loaded.model, "causal_lm", batch, max_new_tokens=new, strategy=Greedy())
    assert found[0][0].ids == tuple(whole[0, ids.shape[1] :].tolist())


# Idefics3's own template, told which words are the assistant's.
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'] is not string and message['content'][0]['type'] == 'image' %}:{% else %}{{ ': ' }}"
    "{% endif %}{% if message['role'] == 'assistant' %}{% generation %}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{{ message['content'][0]['text'] }}{% endif %}<end_of_utterance>"
    "{% endgeneration %}"
    "{% else %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% else %}<image>{% endif %}{% endfor %}<end_of_utterance>{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
MARKS = ["<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>", "<image>"]
MARKS += [f"<row_{i + 1}_col_{j + 1}>" for i in range(3) for j in range(3)]
SHAPES = [(40, 27), (9, 30), (14, 14), (61, 17), (16, 16)]


def seeing(folder, **processing):
    """A tiny Idefics3 of the reference in a folder with vocabulary, template and processor; and its processor."""
    tokenizer = vocabularies.KINDS["Qwen2"]()
    tokenizer.add_special_tokens({"extra_special_tokens": MARKS})
    config = config_of()
    config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    config.text_config.vocab_size, config.text_config.max_position_embeddings = len(tokenizer), 1024
    config.text_config.eos_token_id = tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    theirs = shaken(transformers.Idefics3ForConditionalGeneration(config))
    theirs.generation_config.eos_token_id = config.text_config.eos_token_id
    sizes = {"size": {"longest_edge": 44}, "max_image_size": {"longest_edge": SIDE}}
    pictures = transformers.Idefics3ImageProcessor(**sizes | processing)
    processor = transformers.Idefics3Processor(pictures, tokenizer, image_seq_len=4, chat_template=TEMPLATE)
    processor.save_pretrained(saved(theirs, folder))
    return theirs, processor


@pytest.mark.parametrize("processing", [{}, {"do_image_splitting": False}, {"do_resize": False}], ids=str)
def test_pictures_are_cut_into_tiles_as_by_the_reference(processing, tmp_path):
    _, processor = seeing(tmp_path, **processing)
    loaded = pretrained.load(tmp_path)
    tokenizer = loaded.members["causal_lm"].tokenizers["vision"]
    pictures = [Image.open(drawn(tmp_path / f"{i}.png", 20 * i, size)) for i, size in enumerate(SHAPES)]
    reference = pretrained.as_reference(loaded)
    for each, ours in zip(pictures, tokenizer.encode_batch(pictures), strict=True):
        given = processor.image_processor(images=[[each]], return_tensors="pt", return_row_col_info=True)
        assert torch.equal(
            ours.values, torch.cat([tile.values for tile in reference._pictures(given["pixel_values"][0])])
        )
        assert ours.facts["tiles"].tolist() == [given["rows"][0][0], given["cols"][0][0]]


@pytest.mark.slow
def test_a_conversation_with_pictures_is_answered_as_by_the_reference(tmp_path):
    theirs, processor = seeing(tmp_path)
    files = [drawn(tmp_path / f"{i}.png", 90 * i, SHAPES[i]) for i in (1, 0, 2)]
    talk = talk_about(*files)
    text = processor.apply_chat_template(talk, add_generation_prompt=True)
    batch = processor(text=text, images=[[Image.open(each) for each in files]], return_tensors="pt")
    batch = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values", "pixel_attention_mask")}
    expected = theirs.generate(**batch, do_sample=False, max_new_tokens=6)[0, batch["input_ids"].shape[1] :].tolist()
    loaded = pretrained.load(tmp_path)
    found = loaded.chat(talk, strategy=Greedy(), max_new_tokens=6)
    assert list(found.ids) == [i for i in expected if i != theirs.generation_config.eos_token_id]
    logits = pretrained.as_reference(loaded)(**batch).logits
    torch.testing.assert_close(logits, theirs(**batch).logits, rtol=1.3e-6, atol=1e-5)
    omniformer.save(tmp_path / "ours", loaded, recipe=loaded.recipe)
    assert omniformer.load(tmp_path / "ours").chat(talk, strategy=Greedy(), max_new_tokens=6).ids == found.ids
    loaded.save_pretrained(tmp_path / "back")
    assert pretrained.load(tmp_path / "back").chat(talk, strategy=Greedy(), max_new_tokens=6).ids == found.ids


def test_rows_with_pictures_teach_the_assistant_s_words_in_the_reference_s_order(tmp_path):
    _, processor = seeing(tmp_path / "model")
    table = Table(train=str(rows_of(tmp_path, SHAPES[:3])), columns={"talk": "messages"}, shares=(1.0, 0.0, 0.0))
    tokenizers = pretrained.load(tmp_path / "model").members["causal_lm"].tokenizers
    sample = EachRaw(table.split("train"), tokenizers, name="talks", seed=0)(0, 1)
    mark = processor.image_token_id
    ids = [
        k for each in sample.pieces for k in (each.values.tolist() if each.modality == "text" else [mark] * len(each))
    ]
    talk = json.loads((tmp_path / "talks.jsonl").read_text().splitlines()[1])["talk"]
    pictures = [[Image.open(tmp_path / f"{i}.png") for i in (1, 0)]]
    whole = processor(text=processor.apply_chat_template(talk), images=pictures)["input_ids"][0]
    assert ids == whole[: len(ids)]
    learned = [k for k, counts in zip(ids, sample.token_targets["mask"].tolist(), strict=True) if counts]
    assert processor.tokenizer.decode(learned).lstrip() == "a dog<end_of_utterance>"


@pytest.mark.slow
def test_the_command_talks_about_a_picture_as_python_does(tmp_path, capsys):
    seeing(tmp_path)
    picture = drawn(tmp_path / "1.png", 90)
    main([str(tmp_path), "a dog", "--image", picture, "--temperature", "0", "--max-new-tokens", "5"])
    one = [{"role": "user", "content": [{"type": "image", "path": picture}, {"type": "text", "text": "a dog"}]}]
    said = pretrained.load(tmp_path).chat(one, strategy=Greedy(), max_new_tokens=5)
    assert capsys.readouterr().out.rstrip("\n") == said.content.rstrip("\n")


@pytest.mark.slow
def test_lora_learns_what_pictures_show_and_the_way_back_is_open(tmp_path):
    seeing(tmp_path / "model")
    learns_by_lora(tmp_path, SHAPES[:3])
    loads_whole(transformers.Idefics3ForConditionalGeneration, tmp_path / "back")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale_factor": 3}, "scale_factor=3, and tiles of 4 x 4 patches: blocks do not fit"),
        ({"text_config": TEXT | {"model_type": "gpt2"}}, "text_config has model_type='gpt2'; accepted: llama, mistral"),
        ({"vision_config": VISION | {"image_size": 100}}, "25 patches a side, whose positions the reference rounds"),
    ],
)
def test_what_is_not_expressed_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        _ = pretrained.family_of(config_of().to_dict() | changed).recipe


def test_other_sizes_of_pictures_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"image_size=\(8, 8\): Idefics3For.* reads pictures of any size in tiles of one"
    ):
        pretrained.load(saved(shaken(model()), tmp_path), image_size=(8, 8))


def test_tiles_of_another_size_than_the_model_s_are_refused(tmp_path):
    seeing(tmp_path, max_image_size={"longest_edge": 20})
    with pytest.raises(ValueError, match="max_image_size=20, config.json says image_size=16"):
        pretrained.load(tmp_path)
    (tmp_path / "whole").mkdir()
    reference = pretrained.as_reference(pretrained.load(saved(shaken(model()), tmp_path / "whole")))
    given = inputs(config_of())
    hidden = torch.ones(3, 2, SIDE, SIDE)
    hidden[0, 0, 0, 0] = 0
    with pytest.raises(ValueError, match="pixel_attention_mask hides a part of a tile"):
        reference(**given, pixel_attention_mask=hidden)
