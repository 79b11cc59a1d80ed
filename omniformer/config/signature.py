"""What a class's constructor, or a function, accepts: read from source, so that nothing is typed twice."""

import ast
from dataclasses import dataclass
from functools import cache

from omniformer.config.source import Definition, Function, bases, find, lineage, module, resolve

UNKNOWN = object()  # stands for a default that is no literal


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """One parameter as the source writes it; its owner is the class or function that wrote it."""

    name: str
    annotation: ast.expr | None
    default: object
    required: bool
    owner: Definition

    @property
    def module(self) -> str:
        """The module in which the annotation is to be read."""
        return self.owner.module


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """The keyword arguments that a `_target_` takes.

    Args:
        target: the dotted path it was asked for.
        definition: the class or function behind it.
        parameters: in order, by name.
        open: whether other keywords are taken too, which source alone cannot name.
    """

    target: str
    definition: Definition
    parameters: dict[str, Parameter]
    open: bool


@cache
def signature(target: str) -> Signature:
    """The signature of a dotted path, without importing it.

    Raises:
        LookupError: the path leads to no class or function; see `source.find`.

    Example:
        >>> sorted(signature("json.JSONDecoder").parameters)[:2]
        ['object_hook', 'object_pairs_hook']
    """
    definition = find(target)
    parameters, is_open = _parameters(definition)
    return Signature(target, definition, parameters, is_open)


def _parameters(definition: Definition) -> tuple[dict[str, Parameter], bool]:
    """The parameters of a class or function, and whether it takes other keywords too."""
    if isinstance(definition.node, Function):
        return _of_function(definition, definition.node, bound="." in definition.qualname)
    for owner in lineage(definition):
        if is_dataclass(owner):
            return _of_dataclass(owner), False
        constructor = _constructor(owner)
        if constructor is not None:
            return _of_function(owner, constructor, bound=True)
    return {}, _has_unread_base(definition)


def _constructor(definition: Definition) -> Function | None:
    """`__init__`, or else `__new__`, where the class itself writes one."""
    assert isinstance(definition.node, ast.ClassDef)
    methods = {node.name: node for node in definition.node.body if isinstance(node, Function)}
    return methods.get("__init__") or methods.get("__new__")


def is_dataclass(definition: Definition) -> bool:
    """Whether a class is decorated with `dataclass`."""
    for decorator in definition.node.decorator_list:
        name = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(name, ast.Name | ast.Attribute) and ast.unparse(name).split(".")[-1] == "dataclass":
            return True
    return False


def _of_dataclass(definition: Definition) -> dict[str, Parameter]:
    """The fields of a dataclass, those of its bases first."""
    parameters: dict[str, Parameter] = {}
    for owner in reversed(list(lineage(definition))):
        if not is_dataclass(owner):
            continue
        for node in owner.node.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_field(node):
                name = node.target.id
                default, required = _field_default(node.value)
                parameters[name] = Parameter(name, node.annotation, default, required, owner)
    return parameters


def _is_field(node: ast.AnnAssign) -> bool:
    if "ClassVar" in ast.unparse(node.annotation):
        return False
    return not any(
        keyword.arg == "init" and ast.unparse(keyword.value) == "False"
        for keyword in (node.value.keywords if isinstance(node.value, ast.Call) else ())
    )


def _field_default(value: ast.expr | None) -> tuple[object, bool]:
    """The default of a dataclass field, and whether it must be given."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] == "field":
        given = {keyword.arg: keyword.value for keyword in value.keywords}
        if "default" in given:
            return _literal(given["default"]), False
        return UNKNOWN, "default_factory" not in given
    return (UNKNOWN, True) if value is None else (_literal(value), False)


def _of_function(owner: Definition, node: Function, *, bound: bool) -> tuple[dict[str, Parameter], bool]:
    """The parameters of a function or method, with those that its `**kwargs` hands on."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = list(zip(positional, defaults, strict=True))
    if bound and not any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list):
        pairs = pairs[1:]
    pairs = [
        *pairs[max(0, len(arguments.posonlyargs) - bound) :],
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    parameters = {
        argument.arg: Parameter(
            argument.arg,
            argument.annotation,
            UNKNOWN if default is None else _literal(default),
            default is None,
            owner,
        )
        for argument, default in pairs
    }
    if arguments.kwarg is None:
        return parameters, False
    handed_on, is_open = _handed_on(owner, node, arguments.kwarg.arg)
    return {**handed_on, **parameters}, is_open


def _handed_on(owner: Definition, node: Function, kwargs: str) -> tuple[dict[str, Parameter], bool]:
    """What `**kwargs` may hold, by the one call in the body that receives it whole; else it may hold anything."""
    received = [
        (call, fixed)
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and (fixed := _fixed_beside(call, kwargs)) is not None
    ]
    callee = _callee(owner, received[0][0]) if len(received) == 1 else None
    if callee is None:
        return {}, True
    call, fixed = received[0]
    parameters, is_open = _parameters(callee)
    fixed |= set(list(parameters)[: len(call.args)])
    return {name: parameter for name, parameter in parameters.items() if name not in fixed}, is_open


def _fixed_beside(call: ast.Call, kwargs: str) -> set[str] | None:
    """The keywords that a call sets beside `**kwargs` or in `**{**kwargs, ...}`; None if it does not pass them on."""
    fixed = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
    for value in (keyword.value for keyword in call.keywords if keyword.arg is None):
        if ast.unparse(value) == kwargs:
            return fixed
        if isinstance(value, ast.Dict) and any(
            key is None and ast.unparse(inner) == kwargs for key, inner in zip(value.keys, value.values, strict=True)
        ):
            return fixed | {str(key.value) for key in value.keys if isinstance(key, ast.Constant)}
    return None


def _callee(owner: Definition, call: ast.Call) -> Definition | None:
    """The class or function that a call runs; `super().__init__` is the next base class."""
    if ast.unparse(call.func) == "super().__init__":
        found = next((base for base in bases(owner) if isinstance(base, Definition)), None)
    else:
        here = module(owner.module)
        found = None if here is None else resolve(call.func, here)
    return found if isinstance(found, Definition) else None


def _has_unread_base(definition: Definition) -> bool:
    """Whether some base class cannot be read, so that its constructor may take anything."""
    plain = {"object", "ABC", "Protocol", "Generic"}
    for owner in lineage(definition):
        assert isinstance(owner.node, ast.ClassDef)
        names = [ast.unparse(base).split("[")[0].split(".")[-1] for base in owner.node.bases]
        for name, base in zip(names, bases(owner), strict=True):
            if name not in plain and not isinstance(base, Definition):
                return True
    return False


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN
