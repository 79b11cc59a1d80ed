"""Where chat templates run: jinja's sandbox with the reference's names, in which neither time nor memory runs out.

jinja keeps a template away from Python; one that goes round for ever, or makes gigabytes of a greeting, it lets run.
"""

import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

Span = tuple[int, int]
# Characters and entries that a template may make: of its own, and for each that the conversation has.
FREE, TIMES = 20_000_000, 1_000
SECONDS = 5.0  # published templates take milliseconds
_BITS = 4_096  # of a whole number
_ENTRY = 16  # characters that take as much memory as an entry of a list
_SLOW = ("pprint", "urlize", "wordwrap")  # filters that take long for what all others make at once
# Places to be filled whose width is large, or stands elsewhere.
_WIDE = {"%": re.compile(r"%[^a-zA-Z%]*(\*|\d{5})"), "{": re.compile(r"(?<!\{)\{(?!\{)[^{}]*:[^{}]*(\{|\d{5})")}
_FAILURES = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError, MemoryError)


class Sandbox(ImmutableSandboxedEnvironment):
    """The reference's environment of templates: its options, filters and names.

    All that a template makes is counted, each value and each piece of text; what would be too large is refused before
    it is made.
    """

    intercepted_binops = frozenset(["*", "**", "%", "+"])

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
        self.blocks: list[str] = []
        self.spans: list[Span] = []
        self.left, self.seconds, self.end = FREE, SECONDS, float("inf")
        self.finalize = self.made
        self.filters["tojson"] = _tojson
        self.filters = {name: self._filter(name, use) for name, use in self.filters.items() if name not in _SLOW}
        del self.globals["lipsum"]
        self.globals |= {"raise_exception": _refuse, "namespace": Names, "strftime_now": _now}

    def tracked(self, compiled: Any, names: Mapping[str, Any]) -> tuple[str, list[Span]]:
        """The text of a template, and where its blocks of generation stand.

        Raises:
            ValueError: the template fails, refuses, or makes too much.
        """
        n = _weight(names, float("inf"))
        self.blocks, self.spans = [], []
        self.left = FREE + n * (TIMES + 20 * len(names.get("messages", ())))
        self.seconds = SECONDS + n / 50_000
        self.end = time.monotonic() + self.seconds
        try:
            for block in compiled.generate(**names):
                self.blocks.append(block)
        except (jinja2.TemplateError, *_FAILURES) as error:
            why = str(error) or type(error).__name__
            raise ValueError(f"the chat template refuses this conversation: {why}") from error
        return "".join(self.blocks), self.spans

    def spend(self, n: int) -> str:
        """Counts so many characters or entries."""
        self.left -= n
        if self.left < 0 or time.monotonic() > self.end:
            self.allow(0)
        return ""

    def allow(self, n: float) -> None:
        """Refuses to make so many more."""
        if n > self.left:
            raise jinja2.TemplateError(f"it makes more than {FREE:,} characters beside those of the conversation")
        if time.monotonic() > self.end:
            raise jinja2.TemplateError(f"it takes longer than {self.seconds:.0f} seconds")

    def made(self, value: Any) -> Any:
        """A value, once it is counted."""
        self.spend(1 + len(value) if type(value) is str else _weight(value, self.left))
        return value

    def joined(self, *parts: Any) -> str:
        """`a ~ b`."""
        self.spend(sum(_weight(each, self.left) for each in parts))
        return "".join(map(str, parts))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """The operators of which the result may be much larger than what they are given."""
        if operator in ("*", "**"):
            self.allow(_multiplied(operator, left, right, self.left))
        elif operator == "%" and isinstance(left, str):
            self.allow(_filled(left, "%", [right], self.left))
        return self.made(super().call_binop(context, operator, left, right))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 (as jinja has it)
        """A call, once it is estimated what a method of Python's will make."""
        of = getattr(__obj, "__self__", None)
        if args and isinstance(of, str | bytes | int):
            args = tuple(map(_listed, args))
            __self.allow(_grown(__obj.__name__, of, [*args, *kwargs.values()], __self.left))
        return __self.made(super().call(__context, __obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Any:
        """`"...".format`, once it is estimated what it will make."""
        wrapped: Any = super().wrap_str_format(value)

        def filled(*args: Any, **kwargs: Any) -> str:
            """The text, once its length is allowed."""
            self.allow(_filled(value.__self__, "{", [*args, *kwargs.values()], self.left))
            return wrapped(*args, **kwargs)

        return None if wrapped is None else filled

    def _filter(self, name: str, use: Callable[..., Any]) -> Callable[..., Any]:
        at = int(hasattr(use, "jinja_pass_arg"))  # behind what jinja itself gives

        @wraps(use)
        def estimated(*args: Any, **kwargs: Any) -> Any:
            """What the filter makes, once its size is allowed."""
            args = tuple(_listed(each) if name in ("join", "sum") else each for each in args)
            self.allow(_grown(name, args[at], [*args[at + 1 :], *kwargs.values()], self.left))
            return self.made(use(*args, **kwargs))

        return estimated

    def _parse(self, source: str, name: str | None, filename: str | None) -> Any:
        return _Counting().visit(super()._parse(source, name, filename))


class Generation(Extension):
    """`{% generation %}`: the assistant's words."""

    tags = {"generation"}  # noqa: RUF012 (as jinja declares it)

    def parse(self, parser: Any) -> Any:
        """The block as a call of `written`."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("written"), [], [], body).set_lineno(line)

    def written(self, caller: Callable[[], str]) -> str:
        """The text of the block, whose place is noted."""
        text = caller()
        first = sum(map(len, self.environment.blocks))  # pyright: ignore[reportAttributeAccessIssue]
        self.environment.spans.append((first, first + len(text)))  # pyright: ignore[reportAttributeAccessIssue]
        return text


class Names(jinja2.utils.Namespace):
    """No names of Python's own: they lead out of the sandbox."""

    def __init__(*args: Any, **given: Any) -> None:  # a template may call a name `self`
        names = dict(*args[1:], **given)
        for name in names:
            _public(name)
        jinja2.utils.Namespace.__init__(args[0], names)

    def __setitem__(self, name: str, value: Any) -> None:
        _public(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:  # not what it holds: that may be another one twice, which holds another one twice
        return "<Namespace>"


class _Counting(NodeTransformer):
    """Has the environment count what jinja makes without asking it: rounds of loops, joined texts, lists."""

    def visit_For(self, node: Any) -> Any:  # noqa: N802 (as jinja names it)
        """A loop whose rounds are counted."""
        self.generic_visit(node)
        written = sum(len(each.data) for each in nodes.Scope(node.body).find_all(nodes.TemplateData))
        counted = nodes.ExprStmt(_asked("spend", [nodes.Const(1 + written)]))
        node.body.insert(0, counted.set_lineno(node.lineno))
        return node

    def visit_Concat(self, node: Any) -> Any:  # noqa: N802
        """`a ~ b` as a call."""
        self.generic_visit(node)
        return _asked("joined", node.nodes).set_lineno(node.lineno)

    def _made(self, node: Any) -> Any:
        self.generic_visit(node)
        is_value = getattr(node, "ctx", "load") == "load" and node.find((nodes.Name, nodes.Call)) is not None
        return _asked("made", [node]).set_lineno(node.lineno) if is_value else node

    visit_List = visit_Tuple = visit_Dict = _made  # noqa: N815


def _asked(name: str, arguments: list[Any]) -> Any:
    return nodes.Call(nodes.EnvironmentAttribute(name), arguments, [], None, None)


def _weight(value: Any, most: float) -> int:
    """How many characters and entries a value has; somewhat more than `most` where it has many more."""
    if isinstance(value, str):
        return 1 + len(value)
    n, waiting = 0, [value]
    while waiting and n <= most:
        each = waiting.pop()
        if isinstance(each, str | bytes):
            n += 1 + len(each)
        elif isinstance(each, Mapping):
            n += _ENTRY
            waiting += [*each, *each.values()]
        elif isinstance(each, list | tuple | set):
            n += _ENTRY
            waiting += each
        else:
            n += _ENTRY + (each.bit_length() // 3 if isinstance(each, int) else 0)
    return n


def _depth(value: Any) -> int:
    """How many lists and mappings lie in each other."""
    n, level = 0, [value]
    while level := [
        inner
        for each in level
        if isinstance(each, Mapping | list | tuple)
        for inner in (each.values() if isinstance(each, Mapping) else each)
    ]:
        n += 1
    return n


def _grown(name: str, of: Any, given: Sequence[Any], most: float) -> float:
    """About how much a method or a filter makes of something, where that may be much."""
    n = _weight(of, most)
    words = [each for each in given if isinstance(each, str | bytes)]
    added = max([0, *map(len, words), *(abs(each) for each in given if isinstance(each, int))])
    if name == "replace" and len(words) > 1:
        return n + str(of).count(str(words[0])) * len(words[1])
    if name == "join":
        glued = [len(each) for each in (of, *given[:1]) if hasattr(each, "__len__")]
        return n + sum(_weight(each, most) for each in given) + (math.prod(glued) if len(glued) > 1 else 0)
    if name == "format":
        return _filled(str(of), "%", given, most)
    if name == "translate":
        return n * _weight(given, most)
    if name == "sum" and any(isinstance(each, list | tuple) for each in given):
        return n * n
    if name in ("indent", "expandtabs", "tojson"):
        return n * (1 + added * (_depth(of) if name == "tojson" else 1))
    return n + added


def _filled(form: str, sign: str, given: Sequence[Any], most: float) -> float:
    """About how long a text is once its places are filled."""
    if _WIDE[sign].search(form):
        return math.inf
    return len(form) + form.count(sign) * _weight(list(given), most)


def _multiplied(operator: str, left: Any, right: Any, most: float) -> float:
    """About how much a product or a power is."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        return math.inf if bits > _BITS else 0
    times = left if isinstance(left, int) else right if isinstance(right, int) else 0
    return max(times, 0) * _weight(right if times is left else left, most)


def _listed(value: Any) -> Any:
    """What a filter yields, as a list: so it can be estimated."""
    return list(value) if hasattr(value, "__next__") else value


def _public(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.TemplateError(f"a namespace may not hold {name!r}")


def _refuse(message: str) -> None:
    """A template's own refusal."""
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as it is, where jinja would write it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
