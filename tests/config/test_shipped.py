"""Every configuration file that ships: it composes, it is right, and every mistake in any of its leaves is told."""

import contextlib
import copy
import functools
import itertools
import os
from collections.abc import Iterator

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from omniformer._confpath import conf_dir
from omniformer.config import ConfigError, validate, validate_node
from omniformer.config.accepts import is_node
from omniformer.config.overrides import default_groups, group_options

CHOSEN_FROM = default_groups(conf_dir() / "train.yaml") - {"hydra", "local"}
GROUPS = {group: names for group, names in group_options([conf_dir()]).items() if group.split("/")[0] in CHOSEN_FROM}
CHOICES = [f"{group}={name}" for group, names in GROUPS.items() for name in names]
# Groups that suit every run are composed with all the rest; parts of a run by themselves, which is faster.
WHOLE = ("modality", "experiment", "debug", "optim", "trainer", "callbacks", "logger", "paths")
GIVEN = {"seed": 0, "name": "x", "data_root": "data", "paths": {"output_dir": "outputs/x"}}
# Numbers that no range suits, each with its reason.
UNBOUNDED = {
    "bias": "a logit; -10 for the sigmoid contrastive loss",
    "noise": "a share of the brightness for pictures, decibels and mostly negative for sounds",
}
# Numbers beside which lightning takes text as well: "auto", or a time of day.
TEXT_TOO = {"devices", "val_check_interval"}


@pytest.fixture(scope="module")
def compositions(tmp_path_factory):
    """Composes the plain configuration of a choice, once."""
    folder = tmp_path_factory.mktemp("primary")
    table = {"defaults": [*({group: None} for group in sorted(CHOSEN_FROM - set(WHOLE))), "_self_"], **GIVEN}
    (folder / "part.yaml").write_text(yaml.safe_dump(table), encoding="utf-8")
    before = os.environ.get("OMNIFORMER_RUN_STAMP")
    os.environ["OMNIFORMER_RUN_STAMP"] = "now"
    with initialize_config_dir(str(folder), version_base="1.3"):
        yield functools.cache(composed)
    os.environ.pop("OMNIFORMER_RUN_STAMP")
    if before is not None:
        os.environ["OMNIFORMER_RUN_STAMP"] = before


def composed(choice) -> dict:
    """The configuration of a choice; an option of a group inside `core` goes with the first core that it suits."""
    group = choice.split("=")[0]
    if group in WHOLE:
        return OmegaConf.to_container(compose("train", [choice]), resolve=True)
    if "/" not in group:
        return OmegaConf.to_container(compose("part", [choice]), resolve=True)
    outer = group.split("/")[0]
    # A core that lists the inner group has it overridden, one that does not gets it added.
    for name, spelling in itertools.product(("tiny", *GROUPS[outer]), (choice, f"+{choice}")):
        with contextlib.suppress(OmegaConfBaseException, HydraException):
            config = OmegaConf.to_container(compose("part", [f"{outer}={name}", spelling]), resolve=True)
            if not mistakes(config):
                return config
    raise AssertionError(f"{choice} suits no {outer}")


def mistakes(config) -> str:
    """What the check says of a whole configuration or of a part; empty if it says nothing."""
    try:
        if "trainer" in config:
            validate(config)
        else:
            validate_node({name: value for name, value in config.items() if name not in GIVEN}, "")
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("choice", CHOICES)
def test_every_option_of_every_group_passes_the_check(compositions, choice):
    assert mistakes(compositions(choice)) == ""


def leaves(value, path=()) -> Iterator[tuple[tuple, object]]:
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from leaves(child, (*path, name))
    else:
        yield path, value


def all_leaves(compositions) -> list[tuple[dict, tuple, object]]:
    """Each leaf once: the same key of the same class counts once, whatever file it stands in."""
    found = {}
    for config in map(compositions, CHOICES):
        for path, value in leaves(config):
            if "trainer" not in config and path[0] in GIVEN:
                continue
            owner = config
            for name in path[:-1]:
                owner = owner[name]
            owner_class = owner.get("_target_")
            found.setdefault((owner_class or path[:-1], path[-1], type(value)), (config, path, value))
    return list(found.values())


def told(config, path, value, *, rename=None) -> str:
    """What the check says of a configuration with one leaf changed; empty if it says nothing."""
    config = copy.deepcopy(config)
    owner = config
    for name in path[:-1]:
        owner = owner[name]
    if rename:
        owner[rename] = owner.pop(path[-1])
    else:
        owner[path[-1]] = value
    return mistakes(config)


def in_free_mapping(config, path) -> bool:
    """Whether the leaf's name is its author's choice, such as the name of a callback."""
    owner = config
    for name in path[:-1]:
        owner = owner[name]
    return len(path) > 1 and not is_node(owner) and path[0] != "paths"


def test_every_misspelt_key_is_told_with_the_right_one(compositions):
    silent = []
    for config, path, value in all_leaves(compositions):
        if path[-1] == "_target_" or in_free_mapping(config, path):
            continue
        typo = path[-1][:-1] + "x" + path[-1][-1]
        message = told(config, path, value, rename=typo)
        if ".".join([*path[:-1], typo]) not in message or f"did you mean {'.'.join(path)}?" not in message:
            silent.append((".".join(path), message))
    assert silent == [], silent


def wrong_types(value) -> list[object]:
    """Values of which at least one cannot be right where this one is."""
    if isinstance(value, bool):
        return ["maybe"]
    if isinstance(value, int | float):
        return ["abc"]
    if isinstance(value, str):
        return [12345.5]
    return ["abc", 3.5, {"a": "b"}]


def test_every_value_of_a_wrong_type_is_told_by_its_key(compositions):
    silent = []
    for config, path, value in all_leaves(compositions):
        if path[-1] in TEXT_TOO:
            continue
        messages = [told(config, path, wrong) for wrong in wrong_types(value)]
        if not any(path[0] in message and "received" in message for message in messages):
            silent.append((".".join(path), value))
    assert silent == [], silent


@pytest.mark.timeout(400)  # composes every file, for all tests below
def test_every_number_has_a_range_or_none_on_purpose(compositions):
    """Whoever adds a number writes its range into its annotation: `omniformer/core/ranges.py` has the usual ones."""
    silent, checked = [], 0
    for config, path, value in all_leaves(compositions):
        numbers = value if isinstance(value, list) and value else [value]
        if (
            any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers)
            or path[-1] in UNBOUNDED
        ):
            continue
        checked += 1
        wrong = [-(10**18), 10**18] if isinstance(numbers[0], int) else [-1e18, 1e18]
        messages = [told(config, path, [each] * len(value) if isinstance(value, list) else each) for each in wrong]
        if not any(f"{'.'.join(path)}: received" in message for message in messages):
            silent.append((".".join(path), value))
    assert silent == [], silent
    assert checked > 20


@pytest.mark.parametrize("group", ["modality", "core", "optim", "trainer", "debug"])
def test_the_groups_people_type_have_options(group):
    assert GROUPS[group]
