"""Which values an annotation accepts, read from its source, and how a message says so."""

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from omniformer.config.errors import shown
from omniformer.config.ranges import Range, annotated
from omniformer.config.source import Definition, Module, Value, module, resolve


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A set of values: what a message calls its members, the test for membership, and the ranges of numbers in it."""

    options: tuple[str, ...]
    accepts: Callable[[object], bool]
    ranges: tuple[Range, ...] = ()

    @property
    def words(self) -> str:
        """The description: the options joined, null last, then the range of the numbers among them."""
        return ": ".join([self.types, *([" or ".join(each.words for each in self.ranges)] if self.ranges else [])])

    @property
    def types(self) -> str:
        """The description without ranges."""
        options = [each for each in self.options if each != "a whole number" or "a number" not in self.options]
        return " or ".join(sorted(options, key=lambda each: each == "null"))


def is_node(value: object) -> bool:
    """Whether a value describes a part to be built: a mapping with `_target_`."""
    return isinstance(value, Mapping) and "_target_" in value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


ANYTHING = Kind(("anything",), lambda value: True)
PART = Kind(("a part (a mapping with _target_)",), is_node)
_NOTHING = Kind((), lambda value: False)  # what no configuration can write, such as a tensor
_NULL = Kind(("null",), lambda value: value is None)
_TEXT = Kind(("text",), lambda value: isinstance(value, str))
_PLAIN = {
    "int": Kind(("a whole number",), lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": Kind(("a number",), _is_number),
    "bool": Kind(("true or false",), lambda value: isinstance(value, bool)),
    "str": _TEXT,
    "Path": Kind(("a path",), lambda value: isinstance(value, str)),
    "PathLike": Kind(("a path",), lambda value: isinstance(value, str)),
    "None": _NULL,
    "Any": ANYTHING,
    "object": ANYTHING,
    "Callable": PART,
    "type": PART,
}
_LISTS = {"list", "List", "Sequence", "Iterable", "Collection", "set", "frozenset", "Set"}
_TUPLES = {"tuple", "Tuple"}
_MAPPINGS = {"dict", "Dict", "Mapping", "MutableMapping"}
_WRAPPERS = {"Final", "InitVar", "Required", "NotRequired"}
_STANDARD = {"typing", "typing_extensions", "collections", "pathlib", "os", "types", "dataclasses"}


@cache
def kind(annotation: ast.expr | None, module_name: str) -> Kind:
    """The kind of value an annotation asks for.

    Whole numbers pass as numbers; true and false pass as neither. What cannot be read from source accepts anything.

    Args:
        annotation: the expression, or None where the source has none.
        module_name: the module in which it stands.

    Example:
        >>> import ast
        >>> whole = kind(ast.parse("int | None", mode="eval").body, "json")
        >>> whole.words, whole.accepts(3), whole.accepts(None), whole.accepts("3")
        ('a whole number or null', True, True, False)
    """
    here = module(module_name)
    try:
        return ANYTHING if annotation is None or here is None else _kind(annotation, here, 0)
    except LookupError:
        return ANYTHING


def _kind(node: ast.expr, here: Module, depth: int) -> Kind:
    if depth > 12:  # an alias that leads back to itself
        return ANYTHING
    if isinstance(node, ast.Constant):
        return _of_constant(node, here, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _either([_kind(node.left, here, depth + 1), _kind(node.right, here, depth + 1)])
    if isinstance(node, ast.Subscript):
        return _of_subscript(node, here, depth)
    if isinstance(node, ast.Name | ast.Attribute):
        return _of_name(node, here, depth)
    return ANYTHING


def _of_constant(node: ast.Constant, here: Module, depth: int) -> Kind:
    if node.value is None:
        return _NULL
    if isinstance(node.value, str):  # an annotation written as a string
        try:
            return _kind(ast.parse(node.value, mode="eval").body, here, depth + 1)
        except SyntaxError:
            return ANYTHING
    return ANYTHING


def _of_name(node: ast.Name | ast.Attribute, here: Module, depth: int) -> Kind:
    word = _standard_word(node, here)
    if word in _PLAIN:
        return _PLAIN[word]
    if word in _LISTS | _TUPLES:
        return _list_of(ANYTHING)
    if word in _MAPPINGS:
        return _mapping_of(ANYTHING)
    found = resolve(node, here)
    if isinstance(found, Value):
        there = module(found.module)
        return ANYTHING if there is None else _kind(found.node, there, depth + 1)
    if isinstance(found, Definition):
        if found.path == "torch._tensor.Tensor":
            return _NOTHING
        enumeration = isinstance(found.node, ast.ClassDef) and any("Enum" in ast.unparse(b) for b in found.node.bases)
        return ANYTHING if enumeration else PART
    return ANYTHING


def _of_subscript(node: ast.Subscript, here: Module, depth: int) -> Kind:
    word = _standard_word(node.value, here)
    inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if word == "Literal":
        return _either([_literal(each) for each in inner])
    if word in {"Callable", "type", "Type"}:
        return PART
    if word == "Union":
        return _either([_kind(each, here, depth + 1) for each in inner])
    if word == "Optional":
        return _either([_kind(inner[0], here, depth + 1), _NULL])
    if word == "Annotated":
        return _within(_kind(inner[0], here, depth + 1), [annotated(mark, here) for mark in inner[1:]])
    if word in _WRAPPERS:
        return _kind(inner[0], here, depth + 1)
    if word in _LISTS:
        return _list_of(_kind(inner[0], here, depth + 1))
    if word in _TUPLES:
        return _tuple_of(inner, here, depth)
    if word in _MAPPINGS:
        return _mapping_of(_kind(inner[1], here, depth + 1))
    return _kind(node.value, here, depth + 1)


def _standard_word(node: ast.expr, here: Module) -> str:
    """The name of a builtin or typing word; empty for a name that the module takes from elsewhere."""
    word = ast.unparse(node).split(".")[-1]
    bound = here.names.get(ast.unparse(node).split(".")[0])
    if isinstance(bound, ast.ImportFrom) and (bound.module or "").split(".")[0] not in _STANDARD:
        return ""
    if isinstance(bound, ast.Import):
        return word if bound.names[0].name.split(".")[0] in _STANDARD else ""
    return "" if bound is not None and not isinstance(bound, ast.ImportFrom) else word


def _literal(node: ast.expr) -> Kind:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return ANYTHING
    return Kind((shown(value),), lambda received: type(received) is type(value) and received == value)


def _within(base: Kind, marks: Sequence[Range | None]) -> Kind:
    """The numbers of a kind that lie in every range, and whatever else it has."""
    ranges = [each for each in marks if each is not None]

    def accepts(value: object) -> bool:
        return base.accepts(value) and (not _is_number(value) or all(value in each for each in ranges))  # pyright: ignore[reportOperatorIssue]

    return Kind(base.options, accepts, (*base.ranges, *ranges))


def _either(kinds: Sequence[Kind]) -> Kind:
    """Any of several kinds; the description names each once."""
    if any(each is ANYTHING for each in kinds):
        return ANYTHING
    options = tuple(dict.fromkeys(option for each in kinds for option in each.options))
    return Kind(options, lambda value: any(each.accepts(value) for each in kinds), _ranges(kinds))


def _ranges(kinds: Sequence[Kind]) -> tuple[Range, ...]:
    """The ranges of several kinds, each once."""
    return tuple(dict.fromkeys(each for kind in kinds for each in kind.ranges))


def _list_of(item: Kind) -> Kind:
    return Kind(
        ("a list" if item is ANYTHING else f"a list of [{item.types}]",),
        lambda value: is_node(value) or (isinstance(value, list | tuple) and all(item.accepts(each) for each in value)),
        item.ranges,
    )


def _tuple_of(inner: list[ast.expr], here: Module, depth: int) -> Kind:
    if len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is ...:
        return _list_of(_kind(inner[0], here, depth + 1))
    items = [_kind(each, here, depth + 1) for each in inner]

    def accepts(value: object) -> bool:
        if not isinstance(value, list | tuple):
            return is_node(value)
        return len(value) == len(items) and all(item.accepts(each) for item, each in zip(items, value, strict=True))

    return Kind((f"a list of {len(items)}: [{', '.join(item.types for item in items)}]",), accepts, _ranges(items))


def _mapping_of(item: Kind) -> Kind:
    return Kind(
        ("a mapping" if item is ANYTHING else f"a mapping of names to [{item.types}]",),
        lambda value: (
            is_node(value) or (isinstance(value, Mapping) and all(item.accepts(each) for each in value.values()))
        ),
        item.ranges,
    )
