"""Every configuration file that ships: it composes, it is right, and every mistake in any of its leaves is told."""

import contextlib
import copy
import functools
import itertools
import operator
import os
import re
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from omniformer.config import ConfigError, validate, validate_node
from omniformer.config.accepts import is_node
from omniformer.config.folder import conf_dir
from omniformer.config.overrides import default_groups, group_options
from omniformer.inspect import ROOT as INSPECT

CHOSEN_FROM = default_groups(conf_dir() / "train.yaml") - {"hydra", "local"}
ALL_GROUPS = group_options([conf_dir()])
GROUPS = {group: names for group, names in ALL_GROUPS.items() if group.split("/")[0] in CHOSEN_FROM}
CHOICES = [f"{group}={name}" for group, names in GROUPS.items() for name in names]
FAMILIES = [f"family={name}" for name in ALL_GROUPS["family"]]  # of `omniformer inspect` alone
# Groups that suit every run are composed with all the rest; parts of a run by themselves, which is faster.
WHOLE = ("modality", "experiment", "size", "debug", "optim", "trainer", "callbacks", "logger", "paths")
GIVEN = {"seed": 0, "name": "x", "data_root": "data", "paths": {"output_dir": "outputs/x"}}
# Numbers that no range suits, each with its reason.
UNBOUNDED = {
    "bias": "a logit; -10 for the sigmoid contrastive loss",
    "noise": "a share of the brightness for pictures, decibels and mostly negative for sounds",
}
# Numbers beside which lightning takes text as well: "auto", or a time of day.
TEXT_TOO = {"devices", "val_check_interval"}
SECONDS = 5.0  # a mistake is told within


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
    group, name = choice.split("=")
    if group == "family":
        return OmegaConf.to_container(compose("inspect", [f"core={name}", choice]), resolve=True)
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
        elif "published" in config:
            validate(config, root=INSPECT)
        else:
            validate_node({name: value for name, value in config.items() if name not in GIVEN}, "")
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("choice", CHOICES + FAMILIES)
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
    return len(path) > 1 and not is_node(owner) and path[0] not in ("paths", "model")


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
        by = path[:-1] if in_free_mapping(config, path) else path  # such a mapping is told whole, as optim.lr_of is
        if not any(
            f"{'.'.join(by)}: received" in message or f"{'.'.join(path)}: received" in message for message in messages
        ):
            silent.append((".".join(path), value))
    assert silent == [], silent
    assert checked > 20


def written(choice, config) -> list[tuple[tuple, object]]:
    """The leaves of a composed configuration that the file of a choice writes itself, parts in lists among them."""
    group, name = choice.split("=")
    text = (conf_dir() / group / f"{name}.yaml").read_text(encoding="utf-8")
    package = re.search(r"^# @package (\w+)$", text, re.MULTILINE)
    above = group.split("/") if package is None else [] if package[1] == "_global_" else [package[1]]
    found = []
    for path, _ in inner_leaves({key: value for key, value in yaml.safe_load(text).items() if key != "defaults"}):
        with contextlib.suppress(KeyError, TypeError, IndexError):  # another file, laid over this one, has replaced it
            found.append(((*above, *path), functools.reduce(operator.getitem, (*above, *path), config)))
    return [(path, value) for path, value in found if not (isinstance(value, dict) and value)]


def inner_leaves(value, path=()) -> Iterator[tuple[tuple, object]]:
    """As `leaves`, and the leaves of parts in lists."""
    children = value.items() if isinstance(value, dict) and value else ()
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        children = enumerate(value)
    for name, child in children:
        yield from inner_leaves(child, (*path, name))
    if not children:
        yield path, value


def spelled(path) -> str:
    """A path as messages write it."""
    return "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in path).removeprefix(".")


def mutations(config, path, value) -> Iterator[tuple[str, dict, list[str]]]:
    """What may be wrong with a leaf: a word for it, the change, and what a message of it must hold."""
    key = spelled(path)
    if path[-1] == "_target_":
        yield "name", {"value": f"{value[:-1]}x{value[-1]}"}, [f"{key}: "]
        yield "type", {"value": 3.5}, [f"{key}: "]
        yield "range", {"value": "os.system"}, [f"{key}: "]
        return
    if not in_free_mapping(config, path) and path != ("published",):  # which the command line tells
        typo = f"{path[-1][:-1]}x{path[-1][-1]}"
        yield "name", {"value": value, "rename": typo}, [f"{spelled((*path[:-1], typo))}: ", f"did you mean {key}?"]
    wrong = [{"a": "b"}] if path[-1] in TEXT_TOO else wrong_types(value)
    yield "type", {"value": wrong}, [f"{spelled(path[:-1]) if in_free_mapping(config, path) else key}: received"]
    numbers = value if isinstance(value, list) and value else [value]
    are_numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers)
    if are_numbers and path[-1] not in UNBOUNDED:
        ends = [type(numbers[0])(end) for end in (-1e18, 1e18)]
        far = [[end] * len(value) if isinstance(value, list) else end for end in ends]
        yield "range", {"value": far}, [f"{spelled(path[:-1]) if in_free_mapping(config, path) else key}: received"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_three_mistakes_in_every_leaf_of_every_file_are_told_by_key_within_seconds(compositions):
    silent, slow, tried = [], [], Counter()
    for choice in CHOICES + FAMILIES:
        config = compositions(choice)
        for path, value in written(choice, config):
            for kind, change, wanted in mutations(config, path, value):
                tried[kind] += 1
                rename, values = change.get("rename"), change["value"]
                begin = time.perf_counter()
                messages = [
                    told(config, path, each, rename=rename)
                    for each in (values if kind != "name" and isinstance(values, list) else [values])
                ]
                if time.perf_counter() - begin > SECONDS:
                    slow.append((choice, path))
                if not any(all(words in message for words in wanted) for message in messages):
                    silent.append((choice, kind, spelled(path), value, messages))
    print(dict(tried))
    assert silent == [], "\n".join(map(str, silent))
    assert slow == []
    assert tried["name"] > 1000 < tried["type"]


@pytest.mark.parametrize("group", ["modality", "core", "optim", "trainer", "debug"])
def test_the_groups_people_type_have_options(group):
    assert GROUPS[group]
