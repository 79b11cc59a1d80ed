"""From a saved run to files, and the files beside the model."""

import json
from functools import partial

import numpy
import pytest
import torch
import vocabularies
from exporting import CORE, agrees, reader, shaken
from omniformer_tokenizers import ByteTokenizer, PatchTokenizer, SubwordTokenizer, load

from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.biases import ALiBi, T5Buckets
from omniformer.core.block import GatedCrossBlock
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.norm import RMSNorm
from omniformer.core.positions import Learned, Sinusoidal, StoredSinusoidal
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full
from omniformer.core.scores import SoftCap
from omniformer.core.towers import Towers
from omniformer.embedders import ConvStem, GridStem, IdEmbedder, NGramEmbedder, VectorEmbedder
from omniformer.export import write
from omniformer.export.programs import programs
from omniformer.export.write import _config, export, run_onnx, run_pt2
from omniformer.generation import Allowed, Greedy
from omniformer.heads import ClassificationHead, ContrastiveHead, NextTokenHead
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor

onnxruntime = pytest.importorskip("onnxruntime")

PATCHES = PatchTokenizer(patch_size=4, channels=1, image_size=[8, 8])
TEXT = ByteTokenizer()


def classifier():
    """Pictures in two classes."""
    embedder = VectorEmbedder(d_model=16, features=16, axes=2, position=partial(Learned, sizes=[4, 4]))
    head = ClassificationHead(d_model=16, n_classes=2)
    core = CORE(n_layers=1, rotary=partial(Rotary, n_axes=2))
    model = shaken(OmniFormer(core=core, embedders={"vision": embedder}, heads={"it": head}))
    return Predictor(model, {"it": Member(tokenizers={"vision": PATCHES}, labels=("a", "b"))})


def writer():
    """A language model of bytes."""
    core = CORE(n_layers=1, n_kv_heads=2, rotary=Rotary, attention=partial(SelfAttention, qk_norm=RMSNorm))
    size = {"d_model": 16, "vocab_size": TEXT.vocab_size}
    embedder, head = IdEmbedder(**size, position=partial(Learned, sizes=[40])), NextTokenHead(**size)
    model = OmniFormer(core=core, embedders={"text": embedder}, heads={"it": head}, rules={"it": Causal()})
    return Predictor(shaken(model), {"it": Member(tokenizers={"text": TEXT}, max_seq_len=40)})


def towers():
    """Pictures and their names."""
    embedders = {
        "vision": VectorEmbedder(d_model=16, features=16, axes=2),
        "text": IdEmbedder(d_model=16, vocab_size=TEXT.vocab_size),
    }
    head = ContrastiveHead(d_model=16, modalities=["vision", "text"], d_embedding=4)
    model = shaken(OmniFormer(core=CORE(n_layers=1), embedders=embedders, heads={"it": head}))
    return Predictor(model, {"it": Member(tokenizers={"vision": PATCHES, "text": TEXT})})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A classifier and the folder of its files."""
    predictor, folder = classifier(), tmp_path_factory.mktemp("pictures")
    return predictor, folder, export(predictor, folder)


@pytest.fixture(scope="module")
def prose(tmp_path_factory):
    """A language model and the folder of its files."""
    predictor, folder = writer(), tmp_path_factory.mktemp("prose")
    return predictor, folder, export(predictor, folder)


@pytest.mark.slow
def test_files_are_compared_with_the_model_and_say_how_far_they_are(pictures):
    _, folder, written = pictures
    assert [file.path for file in written] == [folder / "model.pt2", folder / "model.onnx"]
    assert all(file.difference < 1e-5 for file in written)
    assert all(file.size == file.path.stat().st_size for file in written)


def test_the_folder_explains_itself(pictures):
    _, folder, _ = pictures
    config = json.loads((folder / "config.json").read_text())
    program = config["programs"]["model"]
    assert program["files"] == ["model.pt2", "model.onnx"]
    assert [port["name"] for port in program["inputs"]] == ["vision_values", "vision_positions", "vision_mask"]
    assert [port["shape"] for port in program["outputs"]] == [["batch", 2], ["batch", 2]]
    assert config["labels"] == ["a", "b"]
    assert load(folder / config["tokenizers"]["vision"]).config() == PATCHES.config()
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.onnx", "model.pt2", "tokenizers"]


def test_onnx_names_inputs_outputs_and_axes_in_our_words(pictures):
    session = onnxruntime.InferenceSession(pictures[1] / "model.onnx")
    assert {each.name: each.shape for each in session.get_inputs()} == {
        "vision_values": ["batch", "seq", 16],
        "vision_positions": ["batch", "seq", 2],
        "vision_mask": ["batch", "seq"],
    }
    assert {each.name: each.shape for each in session.get_outputs()} == {
        "logits": ["batch", 2],
        "probabilities": ["batch", 2],
    }


@pytest.mark.parametrize("run", [run_pt2, run_onnx])
def test_a_picture_gets_the_class_that_the_predictor_gives_it(pictures, run):
    predictor, folder, _ = pictures
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(1, 8, 8, generator=generator) for _ in range(3)]
    expected = [each.probabilities["b"] for each in predictor.predict(images)]
    tokens = [PATCHES(image) for image in images]
    program = run(folder / f"model.{run.__name__.removeprefix('run_')}")
    mask = torch.ones(3, 4, dtype=torch.int64)
    values, positions = (torch.stack([getattr(each, name) for each in tokens]) for name in ("values", "positions"))
    _, probabilities = program(values, positions, mask)
    numpy.testing.assert_allclose(probabilities[:, 1].numpy(), expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("run", [run_pt2, run_onnx])
def test_greedy_decoding_with_the_exported_step_writes_what_the_writer_writes(prose, run):
    predictor, folder, _ = prose
    program = run(folder / f"decoder.{run.__name__.removeprefix('run_')}")
    prompts, n_new = ["ab", "to be or not", ""], 12
    found = predictor.writer().write(prompts, strategy=Greedy(), max_new_tokens=n_new)
    expected = [list(answers[0].ids) for answers in found]
    begun = [[TEXT.start, *TEXT(prompt).values.tolist()] for prompt in prompts]
    longest = max(map(len, begun))
    ids = torch.tensor([[*each, *[0] * (longest - len(each))] for each in begun])
    mask = torch.tensor([[1] * len(each) + [0] * (longest - len(each)) for each in begun])
    past = [torch.zeros(3, 2, 0, 4) for _ in range(2)]
    last, written = mask.sum(1) - 1, []
    for _ in range(n_new):
        logits, *past = program(ids, mask, *past)
        ids = logits[torch.arange(3), last].argmax(-1, keepdim=True)
        written.append(ids)
        mask = torch.cat([mask, torch.ones(3, 1, dtype=torch.int64)], dim=1)
        last = torch.zeros(3, dtype=torch.int64)
    rows = torch.cat(written, dim=1).tolist()
    cut = [row[: row.index(TEXT.stop)] if TEXT.stop in row else row for row in rows]
    assert [row[: len(each)] for row, each in zip(cut, expected, strict=True)] == expected


def test_a_decoder_says_from_which_id_it_begins(prose):
    config = json.loads((prose[1] / "config.json").read_text())
    assert (config["start"], config["stop"], config["max_seq_len"]) == (TEXT.start, TEXT.stop, 40)
    assert (config["starts"], config["stops"], config["allowed"]) == ([TEXT.start], [TEXT.stop], None)
    assert config["programs"]["decoder"]["most_tokens"] == {"text": 40}


def test_a_decoder_says_all_of_its_beginning_all_ends_and_what_it_may_not_write(prose):
    """Whisper begins with four ids, chat models end with any of two, and translators never write padding."""
    tokenizer = SubwordTokenizer.from_model(vocabularies.llama().backend_tokenizer, start=[1, 5, 7], stop=[2, 9])
    model = prose[0].model
    name = next(iter(model.heads))
    allowed = Allowed(never=(3,), never_first=(4,), first=5, last=2)
    member = Member(tokenizers={"text": tokenizer}, allowed=allowed)
    config = _config(Predictor(model, {name: member}), name, member, {}, [])
    assert (config["starts"], config["stops"]) == ([1, 5, 7], [2, 9])
    assert Allowed(**config["allowed"]) == allowed


def test_a_text_longer_than_the_learned_positions_is_an_error_of_the_runtime(prose):
    program = run_onnx(prose[1] / "decoder.onnx")
    with pytest.raises(Exception, match="invalid index found, index = 40"):
        program(
            torch.zeros(1, 41, dtype=torch.int64), torch.ones(1, 41, dtype=torch.int64), *[torch.zeros(1, 2, 0, 4)] * 2
        )


@pytest.mark.slow
def test_a_mask_of_another_length_is_an_error(prose):
    program = run_pt2(prose[1] / "decoder.pt2")
    with pytest.raises(Exception, match=r"size|Guard|Expected"):
        program(
            torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, 5, dtype=torch.int64), *[torch.zeros(1, 2, 0, 4)] * 2
        )


def test_files_hold_no_path_of_the_machine_that_made_them(pictures, prose):
    here = str(write.__file__).rpartition("/omniformer/")[0].encode()
    for _, folder, _ in (pictures, prose):
        assert all(here not in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_one_format_alone_and_one_file_for_each_tower(tmp_path):
    written = export(towers(), tmp_path, formats=["pt2"])
    assert [file.path.name for file in written] == ["vision.pt2", "text.pt2"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["scale"] > 1
    ids, mask = torch.tensor([[5, 6, 0]]), torch.tensor([[1, 1, 0]])
    (row,) = run_pt2(tmp_path / "text.pt2")(ids, mask)
    assert row.norm().item() == pytest.approx(1, abs=1e-5)


def kinds():
    """Models whose parts say something else, or in another way, while a program is traced."""
    core = partial(CORE, n_layers=1)
    vision = {"vision": VectorEmbedder(d_model=16, features=16, axes=2, position=partial(Learned, sizes=[3, 2]))}
    text = {"text": IdEmbedder(d_model=16, vocab_size=TEXT.vocab_size, position=Sinusoidal)}
    sound = {"audio": ConvStem(d_model=16, features=6, position=partial(StoredSinusoidal, size=5))}
    photos = {"vision": GridStem(d_model=16, features=16, channels=1, grid=[3, 2], width=4)}
    words = {"text": NGramEmbedder(d_model=16, vocab_size=9, letters=6, buckets=50)}
    shared = core(pair_bias=T5Buckets, attention=partial(SelfAttention, pair_bias=ALiBi, score=SoftCap(cap=2.0)))
    towers, gates = Towers(towers=[core(), core()], rules=[Full(), Causal()]), core(block=GatedCrossBlock)
    classes, writes = ClassificationHead(d_model=16, n_classes=2), NextTokenHead(d_model=16, vocab_size=TEXT.vocab_size)
    compared = ContrastiveHead(d_model=16, modalities=["vision", "text"], d_embedding=4)
    return {
        "experts": (core(feedforward=partial(MixtureOfExperts, n_experts=3)), text, classes),
        "sounds": (core(rotary=Rotary), sound, classes),
        "pictures": (core(), photos, classes),
        "letters": (core(), words, classes),
        "biases": (shared, text, writes),
        "towers": (towers, vision | text, compared),
        "gates": (gates, vision | text, writes),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["experts", "sounds", "pictures", "letters", "biases", "towers", "gates"])
def test_every_kind_of_model_becomes_files_that_agree_with_it(name, tmp_path):
    core, embedders, head = kinds()[name]
    rules = {"it": Causal()} if isinstance(head, NextTokenHead) else {}
    model = shaken(OmniFormer(core=core, embedders=embedders, heads={"it": head}, rules=rules))
    member = Member(tokenizers={}, given=("vision",) if name == "gates" else ())
    written = export(Predictor(model, {"it": member}), tmp_path, formats=["onnx"])
    assert len(written) == (2 if name in ("towers", "gates") else 1)
    assert all(file.difference < 1e-5 for file in written)


@pytest.mark.slow
def test_towers_in_onnx(tmp_path):
    predictor = towers()
    export(predictor, tmp_path)
    for modality, program in programs(predictor.model, "it", predictor.members["it"]).items():
        assert agrees(program, run_onnx(tmp_path / f"{modality}.onnx"))


@pytest.mark.slow
def test_a_file_that_differs_from_the_model_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "TOLERANCE", 0.0)
    monkeypatch.setattr(write, "_difference", lambda program, run: 1e-3)
    with pytest.raises(ValueError, match=r"model.pt2 was not kept: it differs from the model by 1.0e-03"):
        export(classifier(), tmp_path, formats=["pt2"])
    assert not list(tmp_path.iterdir())


def test_a_part_that_depends_on_data_is_named_by_what_it_does(tmp_path):
    class Asks(torch.nn.Module):
        def __init__(self, d_model):
            super().__init__()

        def forward(self, x, context):
            return x if x.sum().item() > 0 else -x

    predictor = Predictor(reader(core=CORE(feedforward=Asks), head=ClassificationHead(d_model=16, n_classes=2)), {})
    predictor.members["it"] = Member(tokenizers={})
    with pytest.raises(ValueError, match="'it' cannot be exported, a part of it does something that depends on its"):
        export(predictor, tmp_path, formats=["pt2"])


def test_several_tasks_need_a_choice(tmp_path):
    predictor = classifier()
    predictor.members["other"] = predictor.members["it"]
    with pytest.raises(ValueError, match="several tasks: it, other; choose one with member="):
        export(predictor, tmp_path)
    with pytest.raises(ValueError, match="no task named 'that'; this model has it, other"):
        export(predictor, tmp_path, member="that")


def test_weights_of_another_type_are_refused(tmp_path):
    predictor = classifier()
    predictor.model.to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"is torch.bfloat16 on cpu; .* call predictor.model.float\(\)"):
        export(predictor, tmp_path)


def test_a_missing_library_is_named_with_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"onnx, onnxscript, not installed here: pip install onnx onnxscript"):
        export(classifier(), tmp_path)


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="choose pt2, onnx or both"):
        export(classifier(), tmp_path, formats=["tflite"])
