"""Finds where a dotted name is defined by reading source files: nothing that a configuration names is imported.

Reading a signature from source costs milliseconds where importing its library costs many seconds, and reading cannot
run anybody's code.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from omniformer.config.errors import nearest
from omniformer.config.moved import current

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """One source file: what its top-level names are bound to, and the modules it imports everything from."""

    name: str
    is_package: bool
    names: dict[str, ast.AST]
    stars: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A class, or a function, and the module whose source defines it."""

    module: str
    qualname: str
    node: ast.ClassDef | Function

    @property
    def path(self) -> str:
        """The dotted path of the definition itself, whatever other names lead to it."""
        return f"{self.module}.{self.qualname}"

    @property
    def is_class(self) -> bool:
        """Whether this is a class."""
        return isinstance(self.node, ast.ClassDef)

    @property
    def place(self) -> str:
        """The source file and the line, from the folder of the top package on: `torch/optim/adamw.py:22`."""
        path = _file(self.module)
        parts = () if path is None else path.parts[-1 - self.module.count(".") - (path.name == "__init__.py") :]
        return f"{'/'.join(parts)}:{self.node.lineno}"


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A name bound to an expression, such as the alias of a type, and the module in which to read the expression."""

    module: str
    node: ast.expr


Found = Definition | Value | Module


def find(path: str) -> Definition:
    """The class or function that a dotted path leads to, through imports, aliases, re-exports and names that moved.

    Args:
        path: for example `lightning.Trainer` or `omniformer.core.Transformer`.

    Raises:
        LookupError: no such module, no such name in it, a private name, or a name that is no class and no function.

    Example:
        >>> find("json.JSONDecoder").path
        'json.decoder.JSONDecoder'
    """
    parts = current(path).split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise LookupError(f"{path!r} is not a dotted path to a class or function, such as package.module.Class")
    private = [part for part in parts if part.startswith("_")]
    if private:
        raise LookupError(f"{path!r} leads through the private name {private[0]!r}")
    found: Found | None = module(parts[0])
    if found is None:
        raise LookupError(f"there is no package {parts[0]!r} whose source can be read; is it installed?")
    for index, part in enumerate(parts[1:], start=1):
        step = member(found, part)
        if step is None:
            raise LookupError(f"{'.'.join(parts[:index])} has no {part!r}{_instead(found, part)}")
        found = step
    if not isinstance(found, Definition):
        raise LookupError(f"{path!r} is neither a class nor a function defined in source")
    return found


def member(found: Found, name: str) -> Found | None:
    """What `found.name` is, or None."""
    if isinstance(found, Module):
        return lookup(found, name) or module(f"{found.name}.{name}")
    if isinstance(found, Definition) and isinstance(found.node, ast.ClassDef):
        for owner in lineage(found):
            for node in _bodies(owner.node.body):
                if isinstance(node, Function) and node.name == name:
                    return Definition(owner.module, f"{owner.qualname}.{name}", node)
    return None


def lineage(definition: Definition) -> Iterator[Definition]:
    """A class, then its base classes whose source can be read, nearest first."""
    yield definition
    for base in bases(definition):
        if isinstance(base, Definition) and base.is_class and base.path != definition.path:
            yield from lineage(base)


def bases(definition: Definition) -> list[Found | None]:
    """What the expressions in a class's parentheses lead to; None for one that cannot be read."""
    here = module(definition.module)
    if here is None or not isinstance(definition.node, ast.ClassDef):
        return []
    plain = [base.value if isinstance(base, ast.Subscript) else base for base in definition.node.bases]
    return [resolve(base, here) for base in plain]


def resolve(expression: ast.expr, here: Module) -> Found | None:
    """What a name, or a dotted name, in a module's source stands for."""
    if isinstance(expression, ast.Name):
        return lookup(here, expression.id)
    if isinstance(expression, ast.Attribute):
        owner = resolve(expression.value, here)
        return None if owner is None else member(owner, expression.attr)
    return None


def lookup(here: Module, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> Found | None:
    """What a top-level name of a module is bound to, following its imports."""
    if (here.name, name) in seen:
        return None
    seen |= {(here.name, name)}
    node = here.names.get(name)
    if isinstance(node, ast.ClassDef | Function):
        return Definition(here.name, name, node)
    if isinstance(node, ast.Import):
        return _imported(node, name)
    if isinstance(node, ast.ImportFrom):
        return _imported_from(node, name, here, seen)
    if isinstance(node, ast.Name):
        return lookup(here, node.id, seen)
    if isinstance(node, ast.Attribute):
        return resolve(node, here)
    if isinstance(node, ast.expr):
        return Value(here.name, node)
    for star in here.stars:
        other = module(star)
        found = None if other is None else lookup(other, name, seen)
        if found is not None:
            return found
    return None


def _imported(node: ast.Import, name: str) -> Module | None:
    """The module that `import a.b` (binds `a`) or `import a.b as name` binds."""
    for alias in node.names:
        if alias.asname == name:
            return module(alias.name)
    return module(name)


def _imported_from(node: ast.ImportFrom, name: str, here: Module, seen: frozenset[tuple[str, str]]) -> Found | None:
    source = origin(node, here)
    original = next((alias.name for alias in node.names if (alias.asname or alias.name) == name), name)
    other = module(source)
    if other is None:
        return None
    return lookup(other, original, seen) or module(f"{source}.{original}")


def origin(node: ast.ImportFrom, here: Module) -> str:
    """The absolute name of the module that a `from ... import` reads."""
    if not node.level:
        return node.module or ""
    parts = here.name.split(".")
    keep = len(parts) - node.level + here.is_package
    return ".".join([*parts[:keep], *([node.module] if node.module else [])])


def _instead(found: Found, name: str) -> str:
    """The end of a message: the nearest name that there is, or a few names that there are."""
    if not isinstance(found, Module):
        return ""
    names = sorted(each for each in found.names if not each.startswith("_"))
    near = nearest(name, names)
    return f"; did you mean {near!r}?" if near else f"; it has {', '.join(names[:20]) or 'no names'}"


@cache
def module(name: str) -> Module | None:
    """The top-level names of a module, from its source file; None where there is none to read.

    Raises:
        LookupError: the file is no Python.
    """
    path = _file(name)
    if path is None:
        return None
    if path.is_dir():  # a namespace package: it has submodules and no source
        return Module(name, True, {}, ())
    names: dict[str, ast.AST] = {}
    stars: list[str] = []
    here = Module(name, path.name == "__init__.py", names, ())
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        raise LookupError(f"{path} cannot be read: {error}") from None
    for node in _bodies(tree.body):
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            stars.append(origin(node, here))
            continue
        names.update((bound, target) for bound, target in _bindings(node))
    return Module(name, here.is_package, names, tuple(stars))


def _bindings(node: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    """The names that one statement binds, and to what."""
    if isinstance(node, ast.ClassDef | Function):
        yield node.name, node
    elif isinstance(node, ast.Import):
        yield from ((alias.asname or alias.name.split(".")[0], node) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from ((alias.asname or alias.name, node) for alias in node.names)
    elif isinstance(node, ast.Assign):
        yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value


def _bodies(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body with those under `if`, `try` and `with`; the branch that usually runs comes last.

    Later bindings win. `if TYPE_CHECKING:` is read too: it lists the names that a lazy package loads on first use.
    """
    for node in statements:
        if isinstance(node, ast.If):
            yield from _bodies([*node.orelse, *node.body])
        elif isinstance(node, ast.Try):
            handlers = [child for handler in node.handlers for child in handler.body]
            yield from _bodies([*handlers, *node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With):
            yield from _bodies(node.body)
        else:
            yield node


def _file(name: str) -> Path | None:
    """The source file of a module, or the folder of a namespace package. Only the top package is asked of Python."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    path = Path(spec.origin) if spec.origin and spec.has_location else next(iter(places), None)
    for part in rest:
        path = next((file for place in places if (file := _in(place, part)) is not None), None)
        if path is None:
            return None
        places = [path.parent] if path.name == "__init__.py" else [path] if path.is_dir() else []
    return path if path is not None and (path.is_dir() or path.suffix == ".py") else None


def _in(place: Path, part: str) -> Path | None:
    """The file of a submodule inside a package folder."""
    candidates = (place / part / "__init__.py", place / f"{part}.py", place / part)
    return next((file for file in candidates if file.is_file() or (file == place / part and file.is_dir())), None)
