"""What a key or a group of a configuration means: from docstrings, annotations, tables and files, never typed again."""

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import yaml

from omniformer.config.accepts import ANYTHING, is_node, kind
from omniformer.config.composing import Layer
from omniformer.config.docs import meaning, summary
from omniformer.config.errors import ConfigError, nearest, shown
from omniformer.config.signature import UNKNOWN, Parameter, Signature, signature
from omniformer.config.source import find
from omniformer.config.validate import META, described_by, unknown_key, words

_ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A composed configuration with what is to be known of it.

    Args:
        config: its values; references stay as they are written.
        resolved: the value of a key with its references followed.
        layers: the files it came from, later ones over earlier ones.
        overrides: what the command line sets, by key.
        options: the options of each config group, by name.
        folders: where config files are.
        root: the class that describes the keys of the whole.
    """

    config: Mapping[str, Any]
    resolved: Callable[[str], object]
    layers: Sequence[Layer]
    overrides: Mapping[str, str]
    options: Mapping[str, Sequence[str]]
    folders: Sequence[Path]
    root: str

    def file(self, group: str, option: str) -> Path:
        """The file of an option."""
        files = [folder / group / f"{option}.yaml" for folder in self.folders]
        return next((file for file in files if file.is_file()), files[0])

    def short(self, path: Path) -> str:
        """A config file as people name it: from `conf` on, or as it was given."""
        inside = path.is_relative_to(self.folders[0])
        return f"conf/{path.relative_to(self.folders[0]).as_posix()}" if inside else str(path)

    def choice(self, group: str) -> str | None:
        """The option of a group that the configuration holds; None where it holds none."""
        package = group.replace("/", ".")
        own = [layer for layer in self.layers if self._group(layer.path) == group]
        placed = [layer for layer in own if layer.package in (package, package.rpartition(".")[0], "")]
        return placed[-1].path.stem if placed else None

    def _group(self, path: Path) -> str | None:
        return next((path.parent.relative_to(each).as_posix() for each in self.folders if each in path.parents), None)


def explain(asked: str, of: Composition) -> str:
    """The text of `omniformer help`.

    Args:
        asked: a key (`optim.lr`), a group (`core/attention`) or an option of one (`experiment=vqa`).
        of: the configuration in which to look.

    Raises:
        ConfigError: there is no such key, group or option.
    """
    if "=" in asked:
        group, _, option = asked.partition("=")
        return _option(group, option, of)
    key = asked.strip("+./=").replace("/", ".")
    group = key.replace(".", "/")
    alone = _group_alone(key, group, of)
    described, parameter, value = (None, None, _ABSENT) if alone else _walk(key, of)
    facts = [_line("chosen in", _chosen(key, of))] if alone else _facts(key, described, parameter, value, of)
    parts = [key, *_paragraph(_meaning(described, parameter, value)), "", *facts]
    if group in of.options:
        parts += ["", *_choices(group, of)]
    if isinstance(value, Mapping) and (keys := list(_keys(key, value, of))):
        parts += ["", f"  keys of {key}:", *keys]
    return "\n".join(parts)


def _group_alone(key: str, group: str, of: Composition) -> bool:
    """Whether the name is that of a group and of no key, such as `experiment`."""
    return group in of.options and key.split(".")[0] not in signature(of.root).parameters


def _walk(key: str, of: Composition) -> tuple[Signature | None, Parameter | None, Any]:
    """Who describes a key, its parameter there, and its value."""
    value: Any = of.config
    described: Signature | None = None
    parameter: Parameter | None = None
    parts = key.split(".")
    for index, part in enumerate(parts):
        above = ".".join(parts[:index])
        if not isinstance(value, Mapping) and described_by(above, of.root):
            value = {}  # a section that is null for now
        if not isinstance(value, Mapping):
            raise ConfigError([_not_inside(above, key, value, of)])
        described = _describing(above, value, of)
        parameter = None if described is None else described.parameters.get(part)
        if parameter is None and part not in value and part not in META:
            raise ConfigError([_no_key(part, above, value, described, of)])
        value = value.get(part, _ABSENT)
    return described, parameter, value


def _describing(key: str, value: Mapping[str, Any], of: Composition) -> Signature | None:
    """The signature that names the keys of a mapping; None where they are free, as the names of callbacks are."""
    target = value.get("_target_") or described_by(key, of.root)
    try:
        return None if target is None else signature(str(target))
    except LookupError as error:
        raise ConfigError([f"{key}._target_: {error.args[0]}"]) from None


def _not_inside(above: str, key: str, value: Any, of: Composition) -> str:
    what = "not set" if value is _ABSENT else shown(value)
    groups = [group for group in (above.replace(".", "/"),) if group in of.options]
    hint = f"choose one, such as {groups[0]}={of.options[groups[0]][0]}" if groups else "choose another configuration"
    return f"{key}: {above} is {what} in this configuration, so it has no keys; {hint}, beside the key"


def _no_key(part: str, above: str, value: Mapping[str, Any], described: Signature | None, of: Composition) -> str:
    """The message for a key that is not there, with the nearest that is."""
    if not above:
        ends = [key for key in _all_keys(of.config) if key.split(".")[-1] == part]
        if ends:
            return f"{part}: unknown key; did you mean {' or '.join(ends[:4])}?"
    groups = [group for group in of.options if "/" not in group] if not above else []
    if described is not None:
        return unknown_key(part, above, described, groups)
    near = nearest(part, value)
    hint = f"did you mean {above}.{near}? " if near else ""
    return f"{above}.{part}: unknown key; {hint}accepted: {', '.join(map(str, value)) or 'no keys'}"


def _all_keys(value: Any, key: str = "") -> Iterator[str]:
    for name, child in value.items() if isinstance(value, Mapping) else ():
        full = f"{key}.{name}" if key else str(name)
        yield full
        yield from _all_keys(child, full)


def _meaning(described: Signature | None, parameter: Parameter | None, value: Any) -> str:
    """What the docstrings say: of the parameter, and of the part that stands there."""
    said = []
    if described is not None and parameter is not None:
        found = meaning(described.definition, parameter.name) or meaning(parameter.owner, parameter.name)
        said.append(found or f"The docstring of {described.target} does not describe it.")
    if is_node(value):
        said.append(summary(find(value["_target_"])))
    return " ".join(said).replace("``", "`")


def _facts(
    key: str, described: Signature | None, parameter: Parameter | None, value: Any, of: Composition
) -> Iterator[str]:
    """Type, default, value, and where they stand."""
    if parameter is not None and described is not None:
        accepted = kind(parameter.annotation, parameter.module)
        free = accepted is ANYTHING and parameter.annotation is not None
        said = ast.unparse(parameter.annotation) if free and parameter.annotation else words(accepted, parameter)
        yield _line("accepted", said)
        yield _line("default", _default(parameter, described.target))
        yield _line("source", parameter.owner.place)
    if value is _ABSENT:
        if parameter is not None:
            yield _line("value", "not set in this configuration: the default holds")
        return
    if not isinstance(value, Mapping):
        yield _line("value", _value(key, value, of))
    elif is_node(value):
        yield _line("value", f"{value['_target_']}, in {find(value['_target_']).place}")
    places = list(_where(key, of))
    if isinstance(value, Mapping) and value:
        yield _line("set in", ", ".join(dict.fromkeys(place.split(":")[0] for place in reversed(places))))
    else:
        yield _line("set in", places[0] if places else "no file by itself: a part of another value, or Hydra's own")


def _line(word: str, text: str) -> str:
    return fill(f"{word:10}{text}", 110, initial_indent="  ", subsequent_indent=" " * 12, break_long_words=False)


def _paragraph(text: str) -> list[str]:
    return [fill(text, 110, initial_indent="  ", subsequent_indent="  ")] if text else []


def _default(parameter: Parameter, target: str) -> str:
    if parameter.required:
        return f"none, {target} must be given one"
    return f"{'made by the constructor' if parameter.default is UNKNOWN else shown(parameter.default)}, of {target}"


def _value(key: str, value: Any, of: Composition) -> str:
    """A value as it is written, and what its references lead to."""
    if value == "???":
        return "must be set"
    if not isinstance(value, str) or "${" not in value:
        return shown(value)
    return f"{value}, here {shown(of.resolved(key))}"


def _where(key: str, of: Composition) -> Iterator[str]:
    """The arguments and the lines of files that set a key; the first decides."""
    for each in reversed(list(of.overrides)):
        if key == each or key.startswith(f"{each}."):
            yield f"the command line: {each}={of.overrides[each]}"
    for layer in reversed(of.layers):
        rest = key if not layer.package else key.removeprefix(f"{layer.package}.") if key != layer.package else ""
        if layer.package and rest == key:
            continue
        text = layer.path.read_text(encoding="utf-8")
        line = _line_of(yaml.compose(text, Loader=yaml.SafeLoader), rest.split(".") if rest else [])
        if line is not None:
            yield f"{of.short(layer.path)}:{line + 1}: {text.splitlines()[line].strip()}"


def _chosen(group: str, of: Composition) -> str:
    """The line of the first file that offers a group."""
    path = of.layers[0].path
    lines = path.read_text(encoding="utf-8").splitlines()
    number = next((i for i, line in enumerate(lines, 1) if re.match(rf"\s+- (optional )?{group}:", line)), None)
    return f"{of.short(path)}:{number}: {lines[number - 1].strip()}" if number else of.short(path)


def _line_of(node: yaml.Node | None, parts: Sequence[str]) -> int | None:
    """The number of the line, from 0, on which a key stands; None where it does not."""
    if not parts:
        return None if node is None else node.start_mark.line
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value == parts[0]:
            return key.start_mark.line if len(parts) == 1 else _line_of(value, parts[1:])
    return None


def header(text: str) -> str:
    r"""The comment at the top of a config file, without the command and the package; on one line.

    Example:
        >>> header("# @package _global_\n# omniformer train modality=x\n# Digits, 8 x 8\n# pixels.\nname: x\n")
        'Digits, 8 x 8 pixels.'
    """
    top = re.match(r"(?:#.*\n)*", text)
    lines = [line.lstrip("# ").strip() for line in (top[0] if top else "").splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(("@package", "python -m", "omniformer ")))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.;:]) (?=[A-Z])", text, maxsplit=1)[0]


def about(path: Path) -> str:
    """What an option of a group is, in a sentence: its file's first comment, or else the docstring of its class."""
    text = path.read_text(encoding="utf-8")
    said = _first_sentence(header(text))
    target = re.search(r"^_target_: (\S+)", text, flags=re.MULTILINE)
    if said or target is None:
        return said
    try:
        return _first_sentence(summary(find(target[1])))
    except LookupError:
        return ""


def _choices(group: str, of: Composition) -> Iterator[str]:
    """The options of a group, each with what its file says of itself."""
    now = of.choice(group)
    yield f"  {group}=..., {f'now {now}' if now else 'now none'}:"
    names = of.options[group]
    width = max(map(len, names))
    for name in names:
        text = f"{name:{width}}  {about(of.file(group, name))}".rstrip()
        yield fill(text, 110, initial_indent="    ", subsequent_indent=" " * (width + 6), break_long_words=False)


def _keys(key: str, value: Mapping[str, Any], of: Composition) -> Iterator[str]:
    """The keys of a mapping with their values, and those that its class has besides."""
    described = _describing(key, value, of)
    named = dict.fromkeys(each for each in value if each not in META)
    further = () if described is None else (each for each in described.parameters if each not in named)
    for name in named:
        yield f"    {key}.{name}={_brief(value[name])}"
    more = ", ".join(further)
    if more:
        yield fill(f"and, not set here: {more}", 110, initial_indent="    ", subsequent_indent="      ")


def _brief(value: Any) -> str:
    return f"({value['_target_']})" if is_node(value) else "(...)" if isinstance(value, Mapping) else shown(value)


def _option(group: str, option: str, of: Composition) -> str:
    """One option of a group: what its file says, and the file."""
    group = group.lstrip("+").replace(".", "/")
    if group not in of.options:
        near = nearest(group, of.options)
        hint = f"did you mean {near}? " if near else ""
        raise ConfigError([f"{group}={option}: there is no group {group!r}; {hint}accepted: {', '.join(of.options)}"])
    if option not in of.options[group]:
        near = nearest(option, of.options[group])
        hint = f"did you mean {near}? " if near else ""
        accepted = ", ".join(of.options[group])
        raise ConfigError([f"{group}={option}: there is no such option; {hint}accepted: {accepted}"])
    path = of.file(group, option)
    text = path.read_text(encoding="utf-8")
    said = header(text) or about(path)
    body = re.sub(r"\A(?:#.*\n)*", "", text)
    return "\n".join(
        [f"{group}={option}", *_paragraph(said), "", f"  {of.short(path)}:", *(f"    {x}" for x in body.splitlines())]
    )
