"""Every configuration file that ships: it composes, it is right, and every mistake in any of its leaves is told."""

import copy
import os
from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from omniformer._confpath import conf_dir
from omniformer.config import ConfigError, validate
from omniformer.config.accepts import is_node
from omniformer.config.overrides import group_options
from omniformer.config.ranges import RANGES, UNBOUNDED

GROUPS = {group: names for group, names in group_options([conf_dir()]).items() if group not in ("hydra", "local")}
CHOICES = [f"{group}={name}" for group, names in GROUPS.items() for name in names]


# Options that suit some modalities only: a language model's task has no use for the labels of pictures.
SOME_MODALITIES = ("tokenizer", "embedder", "task", "data")
# Numbers beside which lightning takes text as well: "auto", or a time of day.
TEXT_TOO = {"devices", "val_check_interval"}


@pytest.fixture(scope="module")
def composed():
    """The plain configuration of every choice on the command line, composed once."""
    before = os.environ.get("OMNIFORMER_RUN_STAMP")
    os.environ["OMNIFORMER_RUN_STAMP"] = "now"
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        configs = {choice: suited(choice) for choice in CHOICES}
    os.environ.pop("OMNIFORMER_RUN_STAMP")
    if before is not None:
        os.environ["OMNIFORMER_RUN_STAMP"] = before
    return configs


def suited(choice) -> dict:
    """The configuration of a choice, with the first modality that it suits."""
    single = [name for name in GROUPS["modality"] if name != "all"]
    modalities = single if choice.split("=")[0] in SOME_MODALITIES else [None]
    for modality in modalities:
        overrides = [choice, *([f"modality={modality}"] if modality else [])]
        config = OmegaConf.to_container(compose("train", overrides), resolve=True)
        try:
            validate(config)
        except ConfigError:
            continue
        break
    return config


@pytest.mark.parametrize("choice", CHOICES)
def test_every_option_of_every_group_passes_the_check(composed, choice):
    validate(composed[choice])


def leaves(value, path=()) -> Iterator[tuple[tuple, object]]:
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from leaves(child, (*path, name))
    else:
        yield path, value


def all_leaves(composed) -> list[tuple[dict, tuple, object]]:
    """Each leaf once: the same key of the same class counts once, whatever file it stands in."""
    found = {}
    for config in composed.values():
        for path, value in leaves(config):
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
    try:
        validate(config)
    except ConfigError as error:
        return str(error)
    return ""


def in_free_mapping(config, path) -> bool:
    """Whether the leaf's name is its author's choice, such as the name of a callback."""
    owner = config
    for name in path[:-1]:
        owner = owner[name]
    return len(path) > 1 and not is_node(owner) and path[0] != "paths"


def test_every_misspelt_key_is_told_with_the_right_one(composed):
    silent = []
    for config, path, value in all_leaves(composed):
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


def test_every_value_of_a_wrong_type_is_told_by_its_key(composed):
    silent = []
    for config, path, value in all_leaves(composed):
        if path[-1] in TEXT_TOO:
            continue
        messages = [told(config, path, wrong) for wrong in wrong_types(value)]
        if not any(path[0] in message and "received" in message for message in messages):
            silent.append((".".join(path), value))
    assert silent == [], silent


def test_every_number_out_of_its_range_is_told_by_its_key(composed):
    silent, checked = [], 0
    for config, path, value in all_leaves(composed):
        if not isinstance(value, int | float) or isinstance(value, bool) or path[-1] in UNBOUNDED:
            continue
        checked += 1
        wrong = [-(10**18), 10**18] if isinstance(value, int) else [-1e18, 1e18]
        messages = [told(config, path, each) for each in wrong]
        if not any(f"{'.'.join(path)}: received" in message for message in messages):
            silent.append((".".join(path), value))
    assert silent == [], silent
    assert checked > 20


def test_every_number_in_a_file_is_bounded_or_unbounded_on_purpose(composed):
    names = {
        path[-1]
        for _, path, value in all_leaves(composed)
        for each in (value if isinstance(value, list) else [value])
        if isinstance(each, int | float) and not isinstance(each, bool)
    }
    assert names - RANGES.keys() - UNBOUNDED.keys() == set()


@pytest.mark.parametrize("group", ["modality", "core", "optim", "trainer", "debug"])
def test_the_groups_people_type_have_options(group):
    assert GROUPS[group]
