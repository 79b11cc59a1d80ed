"""Checks a whole configuration before anything heavy is imported: keys, types, ranges, relations, targets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from omniformer.config.accepts import Kind, is_node, kind
from omniformer.config.allow import NotAllowedError, allowed, within
from omniformer.config.errors import ConfigError, choices, nearest, shown
from omniformer.config.moved import unfolded
from omniformer.config.ranges import misfit
from omniformer.config.relations import RELATIONS, Divides, Setting
from omniformer.config.signature import UNKNOWN, Parameter, Signature, signature

ROOT = "omniformer.config.root.Root"
SECTIONS = {
    "paths": "omniformer.config.root.Paths",
    "model": "omniformer.config.root.Model",
    "model.lora": "omniformer.adapters.lora.LoRA",
}
MEMBER = "omniformer.config.root.Member"
META = ("_target_", "_partial_")
_SINGLE = ("tokenizer", "embedder", "data", "task")
# What becomes part of the saved model, and so may name no more than a saved model may.
_OF_A_MODEL = ("core", "embedder", "head", "rule")


def validate(config: Mapping[str, object], *, groups: Iterable[str] = (), root: str = ROOT) -> None:
    """Checks a composed configuration; returns if it can be built.

    Its own `allow_targets` is not believed: what is allowed is what `allowing` says around the call.

    Args:
        config: the whole configuration as plain values, interpolations resolved.
        groups: names of config groups, offered beside the keys where a misspelt one is near.
        root: the class that describes the keys of the configuration; those of a run by default.

    Raises:
        ConfigError: names every mistake: the key, what was received, what is accepted, the nearest valid name.
    """
    checker = _Checker(frozenset(groups))
    config = _with_text_keys(config)
    checker.root(config) if root == ROOT else checker.other(config, root)
    if checker.problems:
        raise ConfigError(checker.problems)


def described_by(key: str, root: str = ROOT) -> str | None:
    """The class that describes the keys of a mapping that is no part itself; None where its keys are free names.

    Args:
        key: under which the mapping stands; empty for the whole configuration.
        root: the class that describes the whole.

    Example:
        >>> described_by("model.lora"), described_by("callbacks")
        ('omniformer.adapters.lora.LoRA', None)
    """
    if not key:
        return root
    if root != ROOT:
        return None
    is_member = key.startswith("members.") and key.count(".") == 1
    return MEMBER if is_member else SECTIONS.get(key)


def validate_node(node: object, key: str = "config") -> None:
    """Checks one part of a configuration and everything in it, as `validate` does for the whole.

    Raises:
        ConfigError: names every mistake.

    Example:
        >>> validate_node({"_target_": "torch.optim.AdamW", "lr": -1}, "optim")
        Traceback (most recent call last):
        omniformer.config.errors.ConfigError: optim.lr: received -1, accepted: a number: above 0
    """
    checker = _Checker(frozenset())
    checker.value(_with_text_keys(node), key, {})
    if checker.problems:
        raise ConfigError(checker.problems)


@dataclass(slots=True)
class _Checker:
    """Walks a configuration and notes every mistake."""

    groups: frozenset[str]
    problems: list[str] = field(default_factory=list)

    def root(self, config: Mapping[str, object]) -> None:
        self.section(config, "", ROOT, also=self.groups)
        for name, target in SECTIONS.items():
            section: object = config
            for part in name.split("."):
                section = section.get(part) if isinstance(section, Mapping) else None
            if isinstance(section, Mapping):
                self.section(section, name, target)
        members = config.get("members")
        if isinstance(members, Mapping) and members:
            for name, member in members.items():
                if isinstance(member, Mapping):
                    self.section(member, f"members.{name}", MEMBER)
            self._alone(config, "members are set, so", "must be null", wanted=False)
        else:
            self._alone(config, "no members are set, so", "is needed; choose a modality, such as modality=vision", True)
        outer = {name: Setting(name, value) for name, value in config.items() if isinstance(value, int | float)}
        for name, value in config.items():
            self.value(value, name, outer)

    def other(self, config: Mapping[str, object], root: str) -> None:
        """A configuration that is not that of a run."""
        self.section(config, "", root, also=self.groups)
        for name, value in config.items():
            self.value(value, name, {})

    def section(self, values: Mapping[str, object], key: str, target: str, also: Iterable[str] = ()) -> None:
        """The keys of a mapping that is no part itself, against the class that describes it."""
        described = signature(target)
        self._arguments(values, key, described, also)
        for name, parameter in described.parameters.items():
            if parameter.required and name not in values:
                accepted = kind(parameter.annotation, parameter.module)
                self.problems.append(f"{_join(key, name)}: is missing, accepted: {words(accepted, parameter)}")

    def value(self, value: object, key: str, outer: Mapping[str, Setting]) -> None:
        """Every part inside a value; `outer` holds the settings of the parts around it."""
        with within("model" if key.rsplit(".", 1)[-1] in _OF_A_MODEL else "training"):
            self._value(value, key, outer)

    def _value(self, value: object, key: str, outer: Mapping[str, Setting]) -> None:
        if is_node(value):
            assert isinstance(value, Mapping)
            self._node(value, key, outer)
        elif isinstance(value, Mapping):
            for name, child in value.items():
                self.value(child, _join(key, str(name)), outer)
        elif isinstance(value, list | tuple):
            for index, child in enumerate(value):
                self.value(child, f"{key}[{index}]", outer)

    def _node(self, node: Mapping[str, object], key: str, outer: Mapping[str, Setting]) -> None:
        node = unfolded(node)
        target = node["_target_"]
        try:
            allowed(target)  # pyright: ignore[reportArgumentType]
            described = signature(str(target))
        except (LookupError, NotAllowedError) as error:
            self.problems.append(f"{key}._target_: {error.args[0]}")
            return
        if not isinstance(node.get("_partial_", False), bool):
            self.problems.append(f"{key}._partial_: received {shown(node['_partial_'])}, accepted: true or false")
        arguments = {name: value for name, value in node.items() if name not in META}
        self._arguments(arguments, key, described)
        inner = self._relations(arguments, key, described, outer)
        for name, value in arguments.items():
            self.value(value, _join(key, name), inner)

    def _arguments(
        self, values: Mapping[str, object], key: str, described: Signature, also: Iterable[str] = ()
    ) -> None:
        """The names, types and ranges of keyword arguments."""
        for name, value in values.items():
            parameter = described.parameters.get(name)
            full = _join(key, name)
            if parameter is None:
                # Where a class takes any keyword, one that is almost a parameter is still a misspelt one.
                if not described.open or nearest(name, described.parameters, cutoff=0.8):
                    self.problems.append(unknown_key(name, key, described, also))
                continue
            accepted = kind(parameter.annotation, parameter.module)
            if not accepted.accepts(value) or misfit(name, parameter.module, value):
                self.problems.append(f"{full}: received {shown(value)}, accepted: {words(accepted, parameter)}")

    def _relations(
        self, arguments: Mapping[str, object], key: str, described: Signature, outer: Mapping[str, Setting]
    ) -> dict[str, Setting]:
        """Checks the relations that this part completes, and returns the settings that parts inside it see."""
        here = {name: Setting(_join(key, name), value) for name, value in arguments.items()}
        defaults = {
            name: Setting(_join(key, name), parameter.default)
            for name, parameter in described.parameters.items()
            if parameter.default is not UNKNOWN and name not in here
        }
        settings = {**outer, **defaults, **here}
        for relation in RELATIONS:
            if isinstance(relation, Divides) and relation.unless and _is_set(relation.unless, arguments):
                continue
            if all(name in settings for name in relation.names) and any(name in here for name in relation.names):
                problem = relation.problem(settings)
                if problem:
                    self.problems.append(problem)
        return settings

    def _alone(self, config: Mapping[str, object], why: str, what: str, wanted: bool) -> None:
        """The keys that a single run needs and that a joint run gives to its members instead."""
        for name in _SINGLE:
            if (config.get(name) is not None) != wanted:
                self.problems.append(f"{name}: {why} {name} {what}")


def _is_set(name: str, arguments: Mapping[str, object]) -> bool:
    """Whether a key has a value among arguments, or in a part that is one of them."""
    parts = [arguments, *(value for value in arguments.values() if isinstance(value, Mapping))]
    return any(part.get(name) is not None for part in parts)


def _with_text_keys(value: Any) -> Any:
    """A copy whose keys are all text: YAML reads some, such as 1 or true, as other things."""
    if isinstance(value, Mapping):
        return {str(name): _with_text_keys(child) for name, child in value.items()}
    return [_with_text_keys(child) for child in value] if isinstance(value, list | tuple) else value


def unknown_key(name: str, key: str, described: Signature, also: Iterable[str]) -> str:
    """The message for a key that the class does not have."""
    names = [*described.parameters, *also]
    if name.startswith("_"):
        names = [*META, *names]
    near = nearest(name, names)
    where = f" of {described.target}" if key and described.target not in {*SECTIONS.values(), MEMBER} else ""
    hint = f"did you mean {_join(key, near)}? " if near else ""
    # An experiment lays keys over its own data, which stay where other data are chosen.
    laid = key.endswith(".source")
    left = f"; where an experiment sets it for other data, ~{key}.{name} leaves it out" if laid else ""
    return f"{_join(key, name)}: unknown key{where}; {hint}accepted: {choices(name, names)}{left}"


def words(accepted: Kind, parameter: Parameter) -> str:
    """The description of what a key accepts: its type, with the range where the key has one."""
    bounds = misfit(parameter.name, parameter.module, float("-inf"))
    return f"{accepted.words}: {bounds}" if bounds else accepted.words


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else str(name)
