"""LLaVA beside the reference library."""

import json
from pathlib import Path

import pytest
import torch
import vocabularies
from omniformer_tokenizers import Tokens, interleaved, unpack
from PIL import Image
from safetensors.torch import load_file, save_file
from twins import LOGITS, counted, saved, shaken, transformers, twin
from vision import as_written, pixels

import omniformer
from omniformer import pretrained
from omniformer.adapters import LoRA, apply_lora
from omniformer.batch import Sample, collate
from omniformer.chat import main
from omniformer.data.each_raw import EachRaw
from omniformer.data.table import Table
from omniformer.export.programs import programs
from omniformer.generation import Greedy, write
from omniformer.pretrained.reference.patches import patches
from omniformer.train import main as train

PICTURE, PATCHES = 28, 4
SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 4}
TEXT = SIZES | {"num_hidden_layers": 2, "num_key_value_heads": 2, "vocab_size": 29, "max_position_embeddings": 64}
VISION = {"hidden_size": 18, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 3}
VISION |= {"image_size": 8, "patch_size": 4}
CASES = {
    "CLIP and LLaMA": ({}, {}, {}),
    "SigLIP and Qwen2, tied": (
        {"model_type": "siglip_vision_model", "vision_use_head": False},
        {"model_type": "qwen2", "tie_word_embeddings": True},
        {"vision_feature_select_strategy": "full", "vision_feature_layer": -1, "tie_word_embeddings": True},
    ),
    "Mistral with a window, one offset less": (
        {"hidden_act": "gelu"},
        {"model_type": "mistral", "sliding_window": 6, "head_dim": 8},
        {"multimodal_projector_bias": False, "projector_hidden_act": "relu", "vision_feature_layer": 1},
    ),
    "longer than in training": (
        {},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}},
        {"vision_feature_layer": -3},
    ),
}
QUICK = "CLIP and LLaMA"


def config_of(case=QUICK):
    vision, text, others = CASES[case]
    own = {"vision_config": {"model_type": "clip_vision_model"} | VISION | vision}
    own["text_config"] = {"model_type": "llama", "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0} | TEXT | text
    return transformers.LlavaConfig(**own, image_token_index=PICTURE, image_seq_length=PATCHES, **others)


def model(case=QUICK):
    return transformers.LlavaForConditionalGeneration(config_of(case))


def inputs():
    """A text with two pictures, one that ends with one, and one without; padded."""
    one = [PICTURE] * PATCHES
    rows = [[1, 5, *one, 7, *one, 9, 4], [1, 3, 8, *one], [6, 2, 11]]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels(3, 3, 8, 8)}


def slow_but(quick):
    return [each if each == quick else pytest.param(each, marks=pytest.mark.slow) for each in CASES]


@pytest.mark.parametrize("case", slow_but(QUICK))
def test_logits_gradients_what_is_written_and_the_way_back(case, tmp_path):
    theirs = model(case)
    given = inputs()
    loaded = twin(theirs, tmp_path, lambda out: out.logits, given, given["attention_mask"], as_filed=as_written(theirs))
    assert not loaded.report.unexpected
    assert counted(json.loads((tmp_path / "theirs/config.json").read_text())) == sum(
        each.numel() for each in theirs.parameters()
    )
    writes_alike(theirs, loaded)


def writes_alike(theirs, loaded, new=8):
    """What both write behind two pictures over a cache is the same, id for id."""
    rows = [[1, 5, PICTURE, 7, PICTURE, 9, 4], [1, PICTURE, 3]]
    pictures = pixels(3, 3, 8, 8, seed=4)
    waiting, samples = unpack(patches(pictures, 4, n_class_tokens=0, modality="vision")), []
    for i, row in enumerate(rows):
        n = row.count(PICTURE)
        text = Tokens(values=torch.tensor(row), positions=torch.arange(float(len(row)))[:, None], modality="text")
        *pieces, last = interleaved(text, {"vision": waiting[:n]}, {"vision": PICTURE})
        waiting = waiting[n:]
        samples.append(Sample(id=str(i), pieces=pieces, answer=[last]))
    found = write(loaded.model, "causal_lm", collate(samples), max_new_tokens=new, strategy=Greedy())
    options = {"do_sample": False, "max_new_tokens": new, "eos_token_id": None, "pad_token_id": 0}
    for row, mine, answers in zip(rows, (pictures[:2], pictures[2:]), found, strict=True):
        ids = torch.tensor([[i for each in row for i in ([each] * PATCHES if each == PICTURE else [each])]])
        whole = theirs.generate(input_ids=ids, pixel_values=mine, attention_mask=torch.ones_like(ids), **options)
        assert answers[0].ids == tuple(whole[0, ids.shape[1] :].tolist())


TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ content['text'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ content['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def seeing(folder):
    """A tiny LLaVA of the reference in a folder with vocabulary, template and processor; and its processor."""
    tokenizer = vocabularies.KINDS["LLaMA 2"]()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<image>"]})
    config = config_of()
    config.image_token_index = tokenizer.convert_tokens_to_ids("<image>")
    config.text_config.vocab_size, config.text_config.max_position_embeddings = len(tokenizer), 256
    theirs = shaken(transformers.LlavaForConditionalGeneration(config))
    side = {"height": 8, "width": 8}
    pictures = transformers.CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=side)
    processor = transformers.LlavaProcessor(
        pictures, tokenizer, patch_size=4, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    processor.save_pretrained(saved(theirs, folder))
    return theirs, processor


def drawn(path, turned=0):
    """A picture in a file."""
    Image.linear_gradient("L").rotate(turned).resize((20, 14)).convert("RGB").save(path)
    return str(path)


def talk_about(*pictures):
    """A conversation with pictures in two of its turns."""
    first, *rest = [{"type": "image", "path": each} for each in pictures]
    return [
        {"role": "user", "content": [first, {"type": "text", "text": "the cat"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a dog"}]},
        {"role": "user", "content": [*rest, {"type": "text", "text": "is <image> brown?"}]},
    ]


def test_a_conversation_with_pictures_is_answered_as_by_the_reference(tmp_path):
    theirs, processor = seeing(tmp_path)
    talk = talk_about(*(drawn(tmp_path / f"{i}.png", 90 * i) for i in range(3)))
    # The reference takes a spelled <image> for a picture, which it is not.
    plain = json.loads(json.dumps(talk).replace("<image> ", ""))
    text = processor.apply_chat_template(plain, add_generation_prompt=True)
    given = processor(text=text, images=[Image.open(tmp_path / f"{i}.png") for i in range(3)], return_tensors="pt")
    expected = theirs.generate(**given, do_sample=False, max_new_tokens=6)[0, given["input_ids"].shape[1] :].tolist()
    loaded = pretrained.load(tmp_path)
    found = loaded.chat(plain, strategy=Greedy(), max_new_tokens=6)
    assert list(found.ids) == [i for i in expected if i != processor.tokenizer.eos_token_id]
    assert loaded.chat(talk, strategy=Greedy(), max_new_tokens=6).ids != found.ids
    omniformer.save(tmp_path / "ours", loaded, recipe=loaded.recipe)
    again = omniformer.load(tmp_path / "ours")
    assert again.chat(plain, strategy=Greedy(), max_new_tokens=6).ids == found.ids


@pytest.mark.slow
def test_the_command_talks_about_a_picture_as_python_does(tmp_path, capsys):
    seeing(tmp_path)
    drawn(tmp_path / "1.png", 90)
    loaded = pretrained.load(tmp_path)
    main([str(tmp_path), "a dog", "--image", str(tmp_path / "1.png"), "--temperature", "0", "--max-new-tokens", "5"])
    one = [
        {
            "role": "user",
            "content": [{"type": "image", "path": str(tmp_path / "1.png")}, {"type": "text", "text": "a dog"}],
        }
    ]
    assert capsys.readouterr().out.rstrip("\n") == loaded.chat(one, strategy=Greedy(), max_new_tokens=5).content


def test_a_folder_with_its_processor_is_read_at_another_size_and_written_so(tmp_path):
    seeing(tmp_path)
    loaded = pretrained.load(tmp_path, image_size=(12, 8))
    pictures = loaded.members["causal_lm"].tokenizers["vision"]
    assert len(pictures(drawn(tmp_path / "1.png"))) == 6
    loaded.save_pretrained(tmp_path / "back")
    again = pretrained.load(tmp_path / "back").members["causal_lm"].tokenizers["vision"]
    assert torch.equal(again(tmp_path / "1.png").values, pictures(tmp_path / "1.png").values)


def test_a_conversation_needs_a_picture_for_each_place(tmp_path):
    seeing(tmp_path)
    loaded = pretrained.load(tmp_path)
    bare = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "the cat"}]}]
    with pytest.raises(ValueError, match="prompt 0: the text has 1 places for vision, received 0 of it"):
        loaded.chat(bare)


def rows_of(folder, beside):
    """Rows of conversations about pictures, which stand in them or in a column beside."""
    rows = []
    for i in range(6):
        path = Path(drawn(folder / f"{i}.png", 90 * i)).name
        pictures = [{"type": "image"} if beside else {"type": "image", "path": path}]
        if not beside and i % 2:
            pictures.append({"type": "image", "image": "0.png"})
        asked = {"role": "user", "content": [*pictures, {"type": "text", "text": "the cat"}]}
        rows.append({"talk": [asked, {"role": "assistant", "content": "a dog"}], "photo": path})
    (folder / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "talks.jsonl"


@pytest.mark.parametrize("beside", [False, True], ids=["in the messages", "beside them"])
def test_rows_with_pictures_are_read_in_their_order_and_teach_the_assistant_s_words(beside, tmp_path):
    _, processor = seeing(tmp_path / "model")
    columns = {"talk": "messages"} | ({"photo": "vision"} if beside else {})
    table = Table(train=str(rows_of(tmp_path, beside)), columns=columns, shares=(1.0, 0.0, 0.0))
    tokenizers = pretrained.load(tmp_path / "model").members["causal_lm"].tokenizers
    samples = EachRaw(table.split("train"), tokenizers, name="talks", seed=0)
    for i in range(2):
        sample = samples(0, i)
        seen = [each for each in sample.pieces if each.modality == "vision"]
        files = [f"{i}.png", *(["0.png"] if i and not beside else [])]
        assert len(seen) == len(files)
        for piece, file in zip(seen, files, strict=True):
            assert torch.equal(piece.values, tokenizers["vision"](tmp_path / file).values)
        ids = [
            k for each in sample.pieces for k in (each.values.tolist() if each.modality == "text" else [-1] * len(each))
        ]
        learned = [k for k, counts in zip(ids, sample.token_targets["mask"].tolist(), strict=True) if counts]
        assert processor.tokenizer.decode(learned) == "a dog</s>"
        text = processor.apply_chat_template([{"role": "user", "content": [{"type": "image"}] * len(files)}])
        whole = processor(text=text, images=[Image.open(tmp_path / each) for each in files])["input_ids"][0]
        mark = processor.image_token_id
        assert [k == -1 for k in ids[: len(whole)]] == [k == mark for k in whole]


@pytest.mark.slow
def test_lora_learns_what_pictures_show_and_the_way_back_is_open(tmp_path):
    seeing(tmp_path / "model")
    rows_of(tmp_path, beside=False)
    options = [
        "modality=text", "data=table", f"data.source.files={tmp_path}/talks.jsonl",
        "data.source.columns={talk: messages}", f"model.pretrained={tmp_path}/model", "optim.lr=0.02",
        "model.lora={rank: 4, targets: [query, value]}", "optim.warmup_steps=1", "trainer.max_epochs=8",
        "data.batch_size=2", f"hydra.run.dir={tmp_path}/run",
    ]  # fmt: skip
    train(options)
    rows = [line.split(",") for line in (tmp_path / "run/metrics.csv").read_text().splitlines()]
    losses = [float(value) for *_, name, value in rows if name == "val/loss"]
    assert losses[-1] < losses[0] - 0.1
    run = omniformer.load(tmp_path / "run")
    talk = talk_about(str(tmp_path / "0.png"), str(tmp_path / "1.png"))
    said = run.chat(talk, strategy=Greedy(), max_new_tokens=4).ids
    run.save_pretrained(tmp_path / "back")
    assert pretrained.load(tmp_path / "back").chat(talk, strategy=Greedy(), max_new_tokens=4).ids == said
    told = transformers.LlavaForConditionalGeneration.from_pretrained(tmp_path / "back", output_loading_info=True)[1]
    assert not any(told.values())


@pytest.mark.slow
def test_files_with_older_names_and_pictures_of_another_size(tmp_path):
    theirs = shaken(model())
    saved(theirs, tmp_path)
    tensors = {
        name.replace("vision_tower.", "vision_tower.vision_model."): each
        for name, each in load_file(tmp_path / "model.safetensors").items()
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = pretrained.load(tmp_path, image_size=(12, 8))
    n = 6
    ids = torch.tensor([[1, 5, *[PICTURE] * n, 7]])
    found = pretrained.as_reference(loaded)(input_ids=ids, pixel_values=pixels(1, 3, 12, 8)).logits
    tower = theirs.model.vision_tower
    seen = tower(pixel_values=pixels(1, 3, 12, 8), interpolate_pos_encoding=True, output_hidden_states=True)
    words = theirs.get_input_embeddings()(ids)
    words[0, 2 : 2 + n] = theirs.model.multi_modal_projector(seen.hidden_states[-2][0, 1:])
    torch.testing.assert_close(found, theirs(inputs_embeds=words).logits, **LOGITS)


@pytest.mark.parametrize(
    ("part", "changed", "message"),
    [
        (
            None,
            {"vision_feature_select_strategy": "full"},
            "vision_feature_select_strategy='full'; accepted: 'default'",
        ),
        (None, {"vision_feature_layer": [-2, -1]}, r"vision_feature_layer=\[-2, -1\]; accepted: one layer of 3"),
        ("text_config", {"model_type": "gpt2"}, "text_config has model_type='gpt2'; accepted: llama, mistral"),
        ("vision_config", {"model_type": "vit"}, "vision_config has model_type='vit'; accepted: clip_vision_model"),
    ],
)
def test_what_is_not_expressed_is_refused(part, changed, message):
    config = config_of().to_dict()
    (config if part is None else config[part]).update(changed)
    with pytest.raises(ValueError, match=message):
        _ = pretrained.family_of(config).recipe


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
def test_adapters_are_those_of_peft(tmp_path):
    peft = pytest.importorskip("peft")
    theirs = shaken(model())
    loaded, other = (pretrained.load(saved(theirs, tmp_path / "base")) for _ in range(2))
    apply_lora(loaded.model, LoRA(rank=4, alpha=8, targets=["query", "value", "second"]))
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if name.endswith(("a", "b")):
                parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(len(name)))
    pretrained.save_adapter(loaded, tmp_path / "adapter")
    found = pretrained.as_reference(loaded)(**inputs()).logits
    pretrained.load_adapter(other, tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    mask = inputs()["attention_mask"].bool()
    plain = pretrained.as_reference(pretrained.load(tmp_path / "base"))(**inputs()).logits
    assert not torch.allclose(plain[mask], found[mask], atol=1e-2)
    for logits in (again(**inputs()).logits, pretrained.as_reference(other)(**inputs()).logits):
        torch.testing.assert_close(logits[mask], found[mask], **LOGITS)


def test_it_is_not_exported_without_its_pictures(tmp_path):
    seeing(tmp_path)
    loaded = pretrained.load(tmp_path)
    with pytest.raises(ValueError, match="'causal_lm' reads vision and what it writes as one sequence"):
        programs(loaded.model, "causal_lm", loaded.members["causal_lm"])
