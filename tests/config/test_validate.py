import copy
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniformer.config import ConfigError, allowing, validate

PART = {"_target_": "toybox.Part", "size": 4}
GOOD = {
    "seed": 0,
    "name": "vision",
    "data_root": "data",
    "resume": None,
    "allow_targets": ["toybox"],
    "paths": {"output_root": "o", "output_dir": "o/d", "sweep_dir": "o/s"},
    "core": {"_target_": "toybox.Core", "d_model": 64, "n_heads": 4, "part": {**PART, "parts": [PART]}},
    "tokenizer": PART,
    "embedder": {"text": PART, "image": PART},
    "data": PART,
    "task": PART,
    "optim": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.1},
    "trainer": {"_target_": "lightning.Trainer", "max_epochs": 2, "precision": "bf16-mixed"},
    "callbacks": {"stop": None},
    "logger": None,
    "members": None,
}
JOINT = {
    **GOOD,
    **dict.fromkeys(("tokenizer", "embedder", "data", "task")),
    "members": {name: {"tokenizer": PART, "embedder": PART, "data": PART, "task": PART} for name in ("one", "two")},
}


@pytest.fixture(autouse=True)
def trusted(toybox):
    with allowing(["toybox"]):
        yield


def changed(config, key, value):
    """A copy with one key set, or deleted where the value is `...`."""
    config = copy.deepcopy(config)
    *path, last = key.split(".")
    place = config
    for name in path:
        place = place[int(name)] if isinstance(place, list) else place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return config


@pytest.mark.parametrize("config", [GOOD, JOINT], ids=["single", "joint"])
def test_a_good_configuration_passes(config):
    validate(config)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sed", 1, "sed: unknown key; did you mean seed? accepted: "),
        ("seed", "x", "seed: received 'x', accepted: a whole number: at least 0 and at most 4294967295"),
        ("seed", True, "seed: received true, accepted: a whole number"),
        ("name", ..., "name: is missing, accepted: text"),
        ("resume", 3, "resume: received 3, accepted: text or null"),
        ("paths.output_dri", "x", "paths.output_dri: unknown key; did you mean paths.output_dir?"),
        ("paths.output_root", None, "paths.output_root: received null, accepted: text"),
        ("core", None, "core: received null, accepted: a part (a mapping with _target_)"),
        ("core._target_", "toybox.Cor", "core._target_: toybox has no 'Cor'; did you mean 'Core'?"),
        ("core._target_", ..., "core: received {"),
        ("core._partial_", "yes", "core._partial_: received 'yes', accepted: true or false"),
        ("core._args_", [1], "core._args_: unknown key of toybox.Core"),
        ("core.n_head", 2, "core.n_head: unknown key of toybox.Core; did you mean core.n_heads? accepted: d_model, "),
        ("core.n_heads", 5, "core.n_heads=5 does not divide core.d_model=64; choose one of 1, 2, 4, 8, 16, 32, 64"),
        (
            "core.d_model",
            66,
            "core.n_heads=4 does not divide core.d_model=66; choose one of 1, 2, 3, 6, 11, 22, 33, 66",
        ),
        ("core.d_model", 64.0, "core.d_model: received 64.0, accepted: a whole number"),
        ("core.part", "toybox.Part", "core.part: received 'toybox.Part', accepted: a part"),
        ("core.part.mode", "sfot", "core.part.mode: received 'sfot', accepted: 'soft' or 'hard'"),
        ("core.part.parts.0.siez", 3, "core.part.parts[0].siez: unknown key of toybox.Part; did you mean"),
        ("embedder.text.siz", 3, "embedder.text.siz: unknown key of toybox.Part; did you mean embedder.text.size?"),
        ("data", None, "data: no members are set, so data is needed; choose a modality, such as modality=vision"),
        ("optim.lr", "abc", "optim.lr: received 'abc', accepted: a number: above 0"),
        ("optim.lr", -1, "optim.lr: received -1, accepted: a number: above 0"),
        ("optim.betas", [0.9], "optim.betas: received [0.9], accepted: a list of 2: [a number, a number]"),
        (
            "trainer.max_epoch",
            5,
            "trainer.max_epoch: unknown key of lightning.Trainer; did you mean trainer.max_epochs?",
        ),
        ("trainer.epochs", 5, "did you mean trainer.max_epochs?"),
        ("trainer.max_epochs", -1, "trainer.max_epochs: received -1, accepted: a whole number or null: at least 1"),
        ("trainer.min_epochs", 3, "trainer.min_epochs=3 is larger than trainer.max_epochs=2"),
        ("callbacks.stop", True, "callbacks: received {'stop': True}, accepted: "),
        ("allow_targets", "toybox", "allow_targets: received 'toybox', accepted: a list of [text]"),
    ],
)
def test_a_mistake_is_told_by_key_value_and_remedy(key, value, message):
    with pytest.raises(ConfigError) as caught:
        validate(changed(GOOD, key, value))
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


def test_a_configuration_cannot_allow_what_it_names():
    with allowing([]), pytest.raises(ConfigError, match=r"core\._target_: 'toybox\.Core' is not allowed as _target_"):
        validate(GOOD)


@pytest.mark.parametrize("key", ["core.part", "embedder.text", "task.head", "task.rule", "members.one.embedder"])
def test_what_will_be_saved_names_no_more_than_a_saved_model_may(key):
    config = {**JOINT, "members": {**JOINT["members"]}} if key.startswith("members") else copy.deepcopy(GOOD)
    with pytest.raises(
        ConfigError, match=r"_target_: 'torch\.optim\.AdamW' .* is not allowed as _target_ in a saved model"
    ):
        validate(changed(config, key, GOOD["optim"]))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("members.one.dtaa", PART, "members.one.dtaa: unknown key; did you mean members.one.data?"),
        ("members.one.task", ..., "members.one.task: is missing, accepted: a part"),
        ("members.two.data.size", "x", "members.two.data.size: received 'x', accepted: a whole number"),
        ("members.two", PART, "members.two._target_: unknown key"),
        ("task", PART, "task: members are set, so task must be null"),
    ],
)
def test_mistakes_in_members_are_told_too(key, value, message):
    with pytest.raises(ConfigError) as caught:
        validate(changed(JOINT, key, value))
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


def test_a_class_that_takes_any_keyword_still_tells_a_misspelt_one():
    logger = {"wandb": {"_target_": "lightning.pytorch.loggers.WandbLogger", "project": "mine", "entity": "me"}}
    validate({**GOOD, "logger": logger})
    with pytest.raises(ConfigError, match=r"logger\.wandb\.projct: unknown key .* did you mean logger\.wandb\.project"):
        validate(changed({**GOOD, "logger": logger}, "logger.wandb.projct", "mine"))


def test_all_mistakes_are_told_at_once():
    config = changed(changed(GOOD, "seed", -1), "optim.lr", "abc")
    with pytest.raises(ConfigError, match="2 mistakes") as caught:
        validate(config)
    assert len(caught.value.problems) == 2


def test_heads_of_a_width_of_their_own_need_not_divide_the_models():
    attention = {"_target_": "omniformer.core.attention.multihead.SelfAttention", "_partial_": True, "bias": False}
    core = {"_target_": "omniformer.core.transformer.Transformer", "d_model": 64, "n_layers": 1, "n_heads": 6}
    validate(changed(GOOD, "core", core | {"attention": attention | {"head_dim": 8}}))
    with pytest.raises(ConfigError, match=r"core\.n_heads=6 does not divide core\.d_model=64"):
        validate(changed(GOOD, "core", core | {"attention": attention}))


def test_a_relation_reaches_into_the_parts_of_a_part():
    config = changed(GOOD, "core.part", {"_target_": "toybox.Core", "d_model": 12, "n_heads": 8})
    with pytest.raises(ConfigError, match=r"core\.part\.n_heads=8 does not divide core\.part\.d_model=12"):
        validate(config)


def test_groups_are_offered_beside_keys():
    with pytest.raises(ConfigError, match="modalty: unknown key; did you mean modality"):
        validate({**GOOD, "modalty": "text"}, groups=["modality"])


def test_a_mistake_does_not_change_the_configuration():
    config = changed(GOOD, "optim.lr", "abc")
    before = copy.deepcopy(config)
    with pytest.raises(ConfigError):
        validate(config)
    assert config == before


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANY = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=2),
    max_leaves=4,
)
KEYS = ["seed", "paths", "paths.output_dir", "core", "core._target_", "core._partial_", "core.n_heads", "core.part"]
KEYS += ["core.part.parts", "embedder", "allow_targets", "callbacks.stop", "members", "trainer.devices", "new"]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(KEYS), value=ANY | st.dictionaries(st.just("_target_"), ANY))
def test_whatever_stands_in_a_file_is_accepted_or_told(key, value):
    with suppress(ConfigError):
        validate(changed(GOOD, key, value))


def test_the_range_of_a_name_says_nothing_of_a_class_of_the_users_own(toybox):
    validate(changed(GOOD, "core.dropout", 1))
    with pytest.raises(ConfigError, match="optim.lr: received -1, accepted: .* above 0"):
        validate(changed(GOOD, "optim.lr", -1))
