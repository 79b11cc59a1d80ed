"""PaliGemma 1 and 2 beside the reference library."""

import json

import pytest
import torch
import vocabularies
from PIL import Image
from twins import LOGITS, counted, saved, shaken, transformers, twin
from vision import as_written, pixels

import omniformer
from omniformer import pretrained
from omniformer.data.each_raw import EachRaw
from omniformer.data.table import Table
from omniformer.generation import Greedy
from omniformer.train import main as train

PICTURE, PATCHES = 28, 4
SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 4, "num_hidden_layers": 2}
TEXT = SIZES | {"num_key_value_heads": 1, "head_dim": 8, "vocab_size": 29, "model_type": "gemma"}
VISION = {"hidden_size": 18, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3}
VISION |= {"image_size": 8, "patch_size": 4, "model_type": "siglip_vision_model", "vision_use_head": False}
CASES = {
    "Gemma": ({}, {}),
    "Gemma 2": (
        {"model_type": "gemma2", "num_key_value_heads": 2, "query_pre_attn_scalar": 8},
        {"num_hidden_layers": 1},
    ),
}


def model(case="Gemma", vocab_size=29, picture=PICTURE):
    text, vision = CASES[case]
    config = transformers.PaliGemmaConfig(
        text_config=TEXT | text | {"vocab_size": vocab_size, "eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0},
        vision_config=VISION | vision,
        image_token_index=picture,
        projection_dim=24,
        hidden_size=24,
        vocab_size=vocab_size,
    )
    # The reference's fused attention leaves Gemma 2's soft cap out.
    return transformers.PaliGemmaForConditionalGeneration._from_config(config, attn_implementation="eager")


def inputs():
    """Rows with two pictures, one and none, padded; 1 in `token_type_ids` is where a row goes on by itself."""
    one = [PICTURE] * PATCHES
    rows = [([*one, *one, 2, 5, 7, 9], [4, 8, 1]), ([*one, 2, 3], [11, 1]), ([2, 6], [])]
    longest = max(len(given) + len(new) for given, new in rows)
    padded = {"input_ids": [], "token_type_ids": [], "attention_mask": []}
    for given, new in rows:
        n = longest - len(given) - len(new)
        padded["input_ids"].append([*given, *new, *[0] * n])
        padded["token_type_ids"].append([*[0] * len(given), *[1] * (len(new) + n)])
        padded["attention_mask"].append([*[1] * (longest - n), *[0] * n])
    return {name: torch.tensor(each) for name, each in padded.items()} | {"pixel_values": pixels(3, 3, 8, 8)}


@pytest.mark.quick("Gemma")
@pytest.mark.parametrize("case", CASES)
def test_logits_gradients_and_the_way_back(case, tmp_path):
    theirs, given = model(case), inputs()
    loaded = twin(theirs, tmp_path, lambda out: out.logits, given, given["attention_mask"], as_filed=as_written(theirs))
    assert not loaded.report.unexpected
    assert counted(json.loads((tmp_path / "theirs/config.json").read_text())) == sum(
        each.numel() for each in theirs.parameters()
    )


def test_what_is_given_is_read_both_ways_and_what_follows_is_not(tmp_path):
    ours = pretrained.as_reference(pretrained.load(saved(shaken(model()), tmp_path)))
    given = inputs()
    before = ours(**given).logits
    changed = given["input_ids"].clone()
    changed[0, 11], changed[1, 7] = 20, 20  # the last that is given; the last that is written
    after = ours(**(given | {"input_ids": changed})).logits
    assert not torch.allclose(before[0, 0], after[0, 0])
    torch.testing.assert_close(before[1, :7], after[1, :7])
    with pytest.raises(ValueError, match="row 0 of token_type_ids has a 0 behind a 1; what is given stands first"):
        ours(**(given | {"token_type_ids": 1 - given["token_type_ids"]}))


def seeing(folder, case="Gemma"):
    """A tiny PaliGemma of the reference in a folder with vocabulary and processor; and its processor."""
    tokenizer = vocabularies.KINDS["LLaMA 2"]()
    tokenizer.add_special_tokens({"bos_token": "<bos>", "eos_token": "<eos>", "extra_special_tokens": ["<image>"]})
    pictures = transformers.SiglipImageProcessor(size={"height": 8, "width": 8})
    pictures.image_seq_length = PATCHES
    tokenizer.image_token, tokenizer.image_token_id = "<image>", tokenizer.convert_tokens_to_ids("<image>")
    processor = transformers.PaliGemmaProcessor(pictures, tokenizer)
    processor.tokenizer.backend_tokenizer.post_processor = None  # as add_bos_token=False of that class has it
    theirs = shaken(model(case, len(processor.tokenizer), processor.image_token_id))
    theirs.config.text_config.eos_token_id = theirs.generation_config.eos_token_id = tokenizer.eos_token_id
    theirs.generation_config.bos_token_id = tokenizer.bos_token_id
    processor.save_pretrained(saved(theirs, folder))
    return theirs, processor


def prepared(processor, text, *photos):
    """What the reference's processor makes of pictures and a question, as tensors."""
    found = processor(text=[text], images=[[Image.open(each) for each in photos]])
    pictures = torch.stack([torch.as_tensor(each) for each in found["pixel_values"]])
    rows = {name: torch.tensor(found[name]) for name in ("input_ids", "token_type_ids", "attention_mask")}
    return rows | {"pixel_values": pictures}


def drawn(path, turned=0):
    Image.linear_gradient("L").rotate(turned).resize((20, 14)).convert("RGB").save(path)
    return str(path)


def question(*pictures, text="the cat"):
    return [
        {
            "role": "user",
            "content": [*({"type": "image", "path": each} for each in pictures), {"type": "text", "text": text}],
        }
    ]


@pytest.mark.quick("Gemma")
@pytest.mark.parametrize("case", CASES)
def test_a_question_about_pictures_is_answered_as_by_the_reference(case, tmp_path):
    theirs, processor = seeing(tmp_path, case)
    photos = [drawn(tmp_path / f"{i}.png", 90 * i) for i in range(2)]
    given = prepared(processor, "<image><image>the cat", *photos)
    whole = theirs.generate(**given, do_sample=False, max_new_tokens=8)
    expected = whole[0, given["input_ids"].shape[1] :].tolist()
    loaded = pretrained.load(tmp_path)
    found = loaded.chat(question(*photos), strategy=Greedy(), max_new_tokens=8)
    assert list(found.ids) == [i for i in expected if i != processor.tokenizer.eos_token_id]
    without = loaded.chat(question(*photos), strategy=Greedy(), max_new_tokens=8, cache="none")
    assert without.ids == found.ids
    omniformer.save(tmp_path / "ours", loaded, recipe=loaded.recipe)
    again = omniformer.load(tmp_path / "ours").chat(question(*photos), strategy=Greedy(), max_new_tokens=8)
    assert again.ids == found.ids


def test_a_second_question_is_refused(tmp_path):
    seeing(tmp_path)
    talk = [*question(), {"role": "assistant", "content": "a dog"}, *question()]
    with pytest.raises(ValueError, match="PaliGemma reads one question and its answer"):
        pretrained.load(tmp_path).chat(talk)


def test_a_row_to_learn_from_is_read_both_ways_up_to_its_answer(tmp_path):
    _, processor = seeing(tmp_path / "model")
    drawn(tmp_path / "0.png")
    talk = [*question("0.png"), {"role": "assistant", "content": "a dog"}]
    (tmp_path / "talks.jsonl").write_text(json.dumps({"talk": talk}) + "\n")
    table = Table(train=str(tmp_path / "talks.jsonl"), columns={"talk": "messages"}, shares=(1.0, 0.0, 0.0))
    tokenizers = pretrained.load(tmp_path / "model").members["causal_lm"].tokenizers
    sample = EachRaw(table.split("train"), tokenizers, name="talks", seed=0)(0, 0)
    given = prepared(processor, "<image>the cat", tmp_path / "0.png")["input_ids"][0].tolist()
    ids = [i for each in sample.pieces for i in (each.values.tolist() if each.modality == "text" else [0] * len(each))]
    assert sample.prefix == len(given) and ids[PATCHES : len(given)] == given[PATCHES:]
    learned = [i for i, counts in zip(ids, sample.token_targets["mask"].tolist(), strict=True) if counts]
    assert processor.tokenizer.decode(learned) == "a dog<eos>" and ids[len(given) :] == learned


@pytest.mark.slow
def test_lora_learns_what_pictures_show_and_the_way_back_is_open(tmp_path):
    _, processor = seeing(tmp_path / "model")
    rows = []
    for i in range(6):
        drawn(tmp_path / f"{i}.png", 90 * i)
        talk = [*question(f"{i}.png"), {"role": "assistant", "content": "a dog"}]
        rows.append(json.dumps({"talk": talk}))
    (tmp_path / "talks.jsonl").write_text("\n".join(rows))
    train([
        "modality=text", "data=table", f"data.source.files={tmp_path}/talks.jsonl",
        "data.source.columns={talk: messages}", f"model.pretrained={tmp_path}/model", "optim.lr=0.02",
        "model.lora={rank: 4, targets: [query, value]}", "optim.warmup_steps=1", "trainer.max_epochs=8",
        "data.batch_size=2", f"hydra.run.dir={tmp_path}/run",
    ])  # fmt: skip
    lines = [line.split(",") for line in (tmp_path / "run/metrics.csv").read_text().splitlines()]
    losses = [float(value) for *_, name, value in lines if name == "val/loss"]
    assert losses[-1] < losses[0] - 0.1
    run, asked = omniformer.load(tmp_path / "run"), question(str(tmp_path / "0.png"))
    said = run.chat(asked, strategy=Greedy(), max_new_tokens=4).ids
    run.save_pretrained(tmp_path / "back")
    theirs, told = transformers.PaliGemmaForConditionalGeneration.from_pretrained(
        tmp_path / "back", output_loading_info=True
    )
    assert not any(told.values())
    given = prepared(processor, "<image>the cat", tmp_path / "0.png")
    whole = (
        theirs.eval().generate(**given, do_sample=False, max_new_tokens=4)[0, given["input_ids"].shape[1] :].tolist()
    )
    assert list(said) == [i for i in whole if i != processor.tokenizer.eos_token_id]


@pytest.mark.slow
def test_pictures_of_another_size(tmp_path):
    theirs = shaken(model())
    loaded = pretrained.load(saved(theirs, tmp_path), image_size=(12, 8))
    n = 6
    ids = torch.tensor([[*[PICTURE] * n, 2, 5]])
    types = torch.zeros_like(ids)
    found = pretrained.as_reference(loaded)(
        input_ids=ids, token_type_ids=types, pixel_values=pixels(1, 3, 12, 8)
    ).logits
    seen = theirs.model.vision_tower(pixel_values=pixels(1, 3, 12, 8), interpolate_pos_encoding=True)
    words = theirs.get_input_embeddings()(ids)
    words[0, :n] = theirs.model.multi_modal_projector(seen.last_hidden_state[0])
    expected = theirs(inputs_embeds=words, token_type_ids=types).logits
    torch.testing.assert_close(found, expected, **LOGITS)


@pytest.mark.parametrize(
    ("part", "changed", "message"),
    [
        ("text_config", {"model_type": "llama"}, "text_config has model_type='llama'; accepted: gemma, gemma2"),
        ("vision_config", {"model_type": "vit"}, "vision_config has model_type='vit'; accepted: siglip_vision_model"),
        ("vision_config", {"vision_use_head": True}, "vision_use_head=true, and nobody reads that head"),
    ],
)
def test_what_is_not_expressed_is_refused(part, changed, message):
    config = model().config.to_dict()
    config[part].update(changed)
    with pytest.raises(ValueError, match=message):
        _ = pretrained.family_of(config).recipe
