from functools import partial

import pytest
import torch
from exporting import CORE, agrees, reader, shaken
from omniformer_tokenizers import PatchTokenizer, PixelTokenizer

from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.biases import ALiBi, T5Buckets
from omniformer.core.block import CrossBlock, GatedCrossBlock, ParallelBlock
from omniformer.core.connection import PostNorm, SandwichNorm
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.norm import RMSNorm
from omniformer.core.positions import Learned, Sinusoidal
from omniformer.core.rotary import Rotary
from omniformer.core.rules import (
    Causal,
    Full,
    Global,
    Modalities,
    Neighbours,
    RandomBlocks,
    Self,
    Window,
    mistral,
)
from omniformer.core.scores import SoftCap
from omniformer.core.towers import Towers
from omniformer.core.variants.additive import AdditiveAttention
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.recurrent import Recurrent
from omniformer.core.variants.reversible import ReversibleTransformer
from omniformer.core.variants.value_residual import ValueResidualAttention
from omniformer.embedders import IdEmbedder, NodeEmbedder, VectorEmbedder
from omniformer.export.program import alone, difference
from omniformer.export.programs import programs
from omniformer.heads import (
    ClassificationHead,
    ContrastiveHead,
    CTCHead,
    DenoisingHead,
    LastToken,
    NextTokenHead,
    RegressionHead,
    SpanHead,
)
from omniformer.model import OmniFormer
from omniformer.predictor import Member

CORES = {
    "grouped": CORE(n_kv_heads=2),
    "rotary, normalised, gated": CORE(rotary=Rotary, attention=partial(SelfAttention, qk_norm=RMSNorm), norm=RMSNorm),
    "buckets shared by layers, no scale": CORE(pair_bias=T5Buckets, attention=partial(SelfAttention, scale=1.0)),
    "slopes of each layer, soft cap": CORE(attention=partial(SelfAttention, pair_bias=ALiBi, score=SoftCap(cap=2.0))),
    "norms behind": CORE(connection=PostNorm, final_norm=False),
    "sandwich, side by side": CORE(connection=SandwichNorm, block=ParallelBlock),
    "experts": CORE(feedforward=partial(MixtureOfExperts, n_experts=3)),
    "first values": CORE(attention=ValueResidualAttention),
}


def classes(**options):
    return ClassificationHead(d_model=16, n_classes=3, **options)


def only(model, member=None):
    (program,) = programs(model, "it", member).values()
    return program


@pytest.mark.quick(3)
@pytest.mark.parametrize("core", CORES.values(), ids=CORES)
def test_a_classifier_of_padded_text_says_what_the_packed_one_says(core):
    assert agrees(only(reader(core=core, head=classes())))


def test_a_reversible_core_is_read_like_any_other():
    assert agrees(only(reader(core=ReversibleTransformer(d_model=16, n_layers=2, n_heads=4), head=classes())))


@pytest.mark.quick(3)
@pytest.mark.parametrize("core", CORES.values(), ids=CORES)
def test_a_decoder_says_step_by_step_what_one_pass_says(core):
    program = only(reader(core=core, rule=Causal()))
    assert agrees(program)
    assert [port.name for port in program.inputs[:3]] == ["input_ids", "attention_mask", "past_key_values.0.key"]


@pytest.mark.quick(4)
@pytest.mark.parametrize("rule", [mistral(window=3), mistral(window=2, sinks=1), Causal() & Window(left=4)], ids=str)
@pytest.mark.parametrize("position", [None, Sinusoidal, partial(Learned, sizes=[12]), partial(Learned, sizes=[5])])
def test_windows_and_positions_of_a_decoder_count_tokens_and_not_columns(rule, position):
    assert agrees(only(reader(rule=rule, position=position, segments=2)))


@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (classes(pool=LastToken), ("batch", 3)),
        (RegressionHead(d_model=16, n_outputs=2, target_mean=[3.0, 4.0], target_std=[2.0, 1.0]), ("batch", 2)),
        (SpanHead(d_model=16), ("batch", "seq", 2)),
        (CTCHead(d_model=16, vocab_size=5), ("batch", "seq", 6)),
        (NextTokenHead(d_model=16, vocab_size=20), ("batch", "seq", 20)),
    ],
    ids=["classes", "numbers", "spans", "frames", "hidden tokens"],
)
def test_outputs_are_rows_of_samples_or_of_tokens(head, shape):
    program = only(reader(head=head, rule=Full()))
    assert program.outputs[0].shape == shape
    assert agrees(program)


def test_a_model_without_a_head_gives_the_cores_output():
    model = shaken(OmniFormer(core=CORE(), embedders={"text": IdEmbedder(d_model=16, vocab_size=20)}, heads={}))
    (program,) = programs(model, None, None).values()
    assert agrees(program)
    assert [port.name for port in program.outputs] == ["last_hidden_state"]


def pictures_and_text(head):
    embedders = {
        "vision": VectorEmbedder(d_model=16, features=16, axes=2, position=partial(Learned, sizes=[4, 4])),
        "text": IdEmbedder(d_model=16, vocab_size=20),
    }
    core = CORE(rotary=partial(Rotary, n_axes=2))
    return shaken(OmniFormer(core=core, embedders=embedders, heads={"it": head}))


MEMBER = Member(tokenizers={"vision": PatchTokenizer(patch_size=4, channels=1), "text": None})


def test_several_modalities_of_a_sample_come_in_side_by_side():
    program = only(pictures_and_text(classes()), MEMBER)
    assert {port.shape[1] for port in program.inputs} == {"vision_seq", "text_seq"}
    assert agrees(program)


def test_models_that_compare_become_one_program_for_each_modality():
    head = ContrastiveHead(d_model=16, modalities=["vision", "text"], d_embedding=6)
    towers = programs(pictures_and_text(head), "it", MEMBER)
    assert list(towers) == ["vision", "text"]
    assert all(agrees(tower) for tower in towers.values())
    assert [port.name for port in towers["text"].inputs] == ["input_ids", "attention_mask"]


def test_a_program_of_other_weights_is_told_from_the_model():
    program = only(reader(head=classes()))
    other = only(reader(head=classes(), core=CORE(n_kv_heads=1)))
    assert not agrees(program, other)


def test_what_reads_what_is_given_and_what_it_writes_as_one_sequence_is_refused():
    member = Member(tokenizers={"vision": None, "text": None}, given=("vision",))
    head = NextTokenHead(d_model=16, vocab_size=20, tied=False)
    model = pictures_and_text(head)
    model.rules["it"] = Causal()
    with pytest.raises(ValueError, match="'it' reads vision and what it writes as one sequence, which cannot be"):
        programs(model, "it", member)


def pair(core, given=("vision",), **writers):
    """A model that reads pictures, or something more, before it writes."""
    embedders = {
        "vision": VectorEmbedder(d_model=16, features=16, axes=2, position=partial(Learned, sizes=[4, 4])),
        "source": IdEmbedder(d_model=16, vocab_size=9, position=Sinusoidal),
        "text": IdEmbedder(d_model=16, vocab_size=20, position=Sinusoidal),
    }
    head = NextTokenHead(d_model=16, vocab_size=20)
    model = shaken(OmniFormer(core=core, embedders=embedders, heads={"it": head}, rules={"it": Causal()}))
    tokenizers = {"vision": PatchTokenizer(patch_size=4, channels=1), "source": None, "text": None}
    return programs(model, "it", Member(tokenizers=tokenizers, given=given))


PAIRS = {
    "pair": EncoderDecoder(encoder=CORE(n_layers=1), decoder=CORE(block=CrossBlock, n_kv_heads=2)),
    "gates before every second layer": CORE(n_layers=3, block=partial(GatedCrossBlock, every=2)),
}


@pytest.mark.quick(2)
@pytest.mark.parametrize("given", [("vision",), ("vision", "source")], ids=str)
@pytest.mark.parametrize("core", PAIRS.values(), ids=PAIRS)
def test_what_is_read_first_becomes_a_program_whose_outputs_go_into_every_step(core, given):
    found = pair(core, given)
    assert list(found) == ["encoder", "decoder"]
    assert all(agrees(program) for program in found.values())
    outputs, inputs = ([port.name for port in ports] for ports in (found["encoder"].outputs, found["decoder"].inputs))
    assert outputs == inputs[2 : 2 + len(outputs)]


def test_memory_is_read_by_some_layers_and_the_past_by_all():
    inputs = [port.name for port in pair(PAIRS["gates before every second layer"])["decoder"].inputs]
    assert [name for name in inputs if name.startswith("memory.")] == [
        f"memory.{layer}.{kind}" for layer in (0, 2) for kind in ("key", "value")
    ]
    assert len([name for name in inputs if name.startswith("past_key_values.")]) == 6


def test_pictures_are_not_written_step_by_step():
    head = NextTokenHead(d_model=16, vocab_size=20, modality="pixels", tied=False)
    embedders = {"pixels": IdEmbedder(d_model=16, vocab_size=20, axes=3)}
    model = OmniFormer(core=CORE(), embedders=embedders, heads={"it": head}, rules={"it": Causal()})
    with pytest.raises(ValueError, match="'it' writes pixels, whose tokens lie on 3 axes"):
        programs(model, "it", Member(tokenizers={"pixels": PixelTokenizer(image_size=[2, 2])}))


def test_painting_out_of_noise_is_refused_by_name():
    with pytest.raises(ValueError, match="DenoisingHead cannot be exported: a picture takes many steps"):
        programs(reader(head=DenoisingHead(d_model=16, features=4)), "it", None)


@pytest.mark.parametrize("attention", [LinearAttention, AdditiveAttention])
def test_attention_that_asks_for_lengths_is_refused_by_name(attention):
    with pytest.raises(ValueError, match=f"{attention.__name__} cannot be exported: it "):
        programs(reader(core=CORE(attention=attention), head=classes()), "it", None)


def test_a_recurrent_core_is_refused_by_name():
    with pytest.raises(ValueError, match="core Recurrent cannot be exported: only a Transformer, Towers or"):
        programs(reader(core=Recurrent(d_model=16, n_layers=1), head=classes()), "it", None)


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        (Neighbours() | Self(), "Neighbours cannot be exported: it follows the edges"),
        (Causal() & ~RandomBlocks(2, 1), "RandomBlocks cannot be exported"),
        (Modalities([[0]]), "Modalities cannot be exported"),
        (Global(feature="seen"), r"Global\(first=0, feature='seen'\) cannot be exported"),
    ],
    ids=["edges", "random", "modalities", "feature"],
)
@pytest.mark.parametrize("head", [classes(), None], ids=["classes", "next token"])
def test_rules_that_read_what_does_not_come_in_are_refused_by_name(rule, named, head):
    with pytest.raises(ValueError, match=named):
        programs(reader(rule=rule, head=head), "it", None)


def test_weights_are_shared_and_learn_no_more():
    model = reader(head=classes())
    found = alone(model, "it", ["text"])
    assert {p.data_ptr() for p in found.parameters()} == {p.data_ptr() for p in model.parameters()}
    assert not any(p.requires_grad for p in found.parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_one_task_of_a_model_is_exported_whatever_the_others_are():
    embedders = {
        "graph": NodeEmbedder(d_model=16, vocab_sizes=[3]),
        "text": IdEmbedder(d_model=16, vocab_size=20),
    }
    heads = {"it": classes(), "paint": DenoisingHead(d_model=16, features=4)}
    model = shaken(OmniFormer(core=CORE(), embedders=embedders, heads=heads))
    program = only(model, Member(tokenizers={"text": None}))
    assert agrees(program)
    assert not any(name.startswith(("model.embedders.graph", "model.heads.paint")) for name in program.state_dict())
    with pytest.raises(ValueError, match="NodeEmbedder cannot be exported: graphs have edges"):
        programs(model, "it", Member(tokenizers={"graph": None}))


def test_a_tower_reads_its_own_modality_by_its_own_rule():
    core = Towers(towers=[CORE(n_layers=1, d_model=12), CORE()], rules=[Full(), Causal()])
    embedders = {
        "vision": VectorEmbedder(d_model=12, features=16, axes=2),
        "text": IdEmbedder(d_model=16, vocab_size=20),
    }
    head = ContrastiveHead(d_model={"vision": 12, "text": 16}, modalities=["vision", "text"], d_embedding=6)
    model = shaken(OmniFormer(core=core, embedders=embedders, heads={"it": head}))
    assert all(agrees(tower) for tower in programs(model, "it", MEMBER).values())


def test_a_modality_without_an_embedder_is_told_with_those_that_there_are():
    with pytest.raises(ValueError, match="this model has no embedder for 'vision', only for text"):
        programs(reader(head=classes()), "it", Member(tokenizers={"vision": None}))


def test_a_result_that_is_no_number_or_of_another_shape_is_infinitely_far():
    assert difference(torch.tensor([torch.nan]), torch.tensor([0.0])) == float("inf")
    assert difference(torch.zeros(2), torch.zeros(3)) == float("inf")
    assert difference(torch.zeros(0), torch.zeros(0)) == 0.0
