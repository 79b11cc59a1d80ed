from functools import partial

import pytest

from omniformer.config import BuildError, allowing, build


@pytest.fixture(autouse=True)
def _allowed(toybox):
    with allowing(["toybox"]):
        yield


PART = {"_target_": "toybox.Part"}
CORE = {"_target_": "toybox.Core", "d_model": 8}


def test_a_description_becomes_the_object_with_its_parts():
    core = build({**CORE, "dropout": 0.5, "part": {**PART, "parts": [PART, {**PART, "size": 7}]}})
    assert (core.d_model, core.n_heads, core.dropout) == (8, 4, 0.5)
    assert [part.size for part in core.part.parts] == [1, 7]


def test_facts_fill_what_a_description_leaves_out_and_only_where_it_fits():
    core = build({"_target_": "toybox.Core", "part": PART}, "core", d_model=16, size=9, nobody_asks=1)
    assert core.d_model == 16
    assert core.part.size == 9
    assert build(CORE, "core", d_model=16).d_model == 8


def test_facts_may_be_objects():
    part = object()
    assert build(CORE, part=part).part is part


def test_facts_reach_through_keywords_that_a_class_hands_on(toybox):
    (toybox / "handing.py").write_text(
        "import toybox\nclass Mine(toybox.Core):\n    def __init__(self, **more):\n        super().__init__(**more)\n"
    )
    with allowing(["handing"]):
        assert build({"_target_": "handing.Mine"}, "core", d_model=24).d_model == 24
        with pytest.raises(BuildError, match=r"core\.d_modle: unknown key of handing\.Mine; did you mean 'd_model'"):
            build({"_target_": "handing.Mine", "d_modle": 24}, "core")


def test_plain_values_mappings_and_lists_come_back_as_they_are():
    plain = {"a": [1, "x", None, {"b": 2.5}], "c": (1, 2)}
    assert build(plain) == plain
    assert build({"one": PART})["one"].size == 1


def test_a_partial_waits_for_the_rest():
    made = build({**PART, "_partial_": True, "mode": "hard"}, size=3)
    assert isinstance(made, partial)
    assert made().size == 3
    assert made(size=4).mode == "hard"


def test_a_partial_waits_for_what_its_caller_gives_by_its_place():
    norm = build({"_target_": "omniformer.core.norm.LayerNorm", "_partial_": True, "eps": 0.1}, "norm", d_model=8)
    assert norm(3).normalized_shape == (3,)
    position = build({"_target_": "omniformer.core.positions.Sinusoidal", "_partial_": True}, "position", d_model=8)
    assert position().d_model == 8


def test_functions_are_built_by_calling_them():
    assert build({"_target_": "toybox.double", "size": 4}) == 8


def test_torch_classes_are_built():
    optimizer = build({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5}, "optim")
    layer = build({"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}, "head")
    assert optimizer(layer.parameters()).defaults["lr"] == 0.5


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({**CORE, "n_head": 2}, r"core\.n_head: unknown key of toybox\.Core; did you mean 'n_heads'\?"),
        ({**CORE, "part": {**PART, "siz": 2}}, r"core\.part\.siz: unknown key of toybox\.Part; did you mean 'size'\?"),
        (
            {**CORE, "part": [PART, {"_target_": "os.system"}]},
            r"core\.part\[1\]\._target_: 'os\.system' is not allowed",
        ),
        ({**CORE, "d_model": 13}, r"core \(toybox\.Core\): d_model=13 brings bad luck"),
        ({"_target_": "toybox.Core"}, r"core\.d_model: toybox\.Core needs it"),
        ({"_target_": "toybox.Corr"}, r"core\._target_: toybox has no 'Corr'; did you mean 'Core'\?"),
        ({**CORE, "_recursive_": False}, r"core\._recursive_: unknown key"),
    ],
)
def test_a_refusal_names_the_key_in_the_configuration(node, message):
    with pytest.raises(BuildError, match=message):
        build(node, "core")


def test_the_whole_of_a_configuration_has_no_key_of_its_own():
    with pytest.raises(BuildError, match=r"^optim\.rate: unknown key of torch\.optim\.AdamW"):
        build({"optim": {"_target_": "torch.optim.AdamW", "rate": 1}}, "")


def test_a_missing_file_keeps_its_error_and_gains_the_key(toybox):
    (toybox / "reader.py").write_text("def read(path):\n    return open(path)\n")
    with allowing(["reader"]), pytest.raises(FileNotFoundError) as caught:
        build({"_target_": "reader.read", "path": "nowhere.txt"}, "data")
    assert caught.value.__notes__ == ["while building data (reader.read)"]


def test_a_value_that_nothing_gives_is_named_with_its_key():
    with pytest.raises(BuildError, match=r"embedder\.features: omniformer\.embedders\.VectorEmbedder needs it"):
        build({"_target_": "omniformer.embedders.VectorEmbedder", "axes": 2}, "embedder", d_model=16)
