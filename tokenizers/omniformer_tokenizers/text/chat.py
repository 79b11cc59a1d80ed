"""Conversations as text: chat templates of published models, rendered in a sandbox as the reference renders them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from omniformer_tokenizers._checks import need

Span = tuple[int, int]
# Where the part of a message has its picture.
_HELD = ("image", "path")
_REASONING = ("reasoning_content", "thinking", "reasoning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Messages, as a model reads them through its chat template.

    Args:
        messages: each with a `role`, such as system, user or assistant, and its `content`; further keys are for the
            template.
        tools: what the model may call, as JSON schemas.
        goes_on: whether the template is to end where the assistant's next words begin.
        options: further names that the template knows, such as `enable_thinking`.

    Raises:
        ValueError: there is no message, or one without a role.

    Example:
        >>> Conversation(messages=[{"role": "user", "content": "hi"}]).messages[0]["role"]
        'user'
    """

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None = None
    goes_on: bool = False
    options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.messages, str | Mapping) or not self.messages:
            raise ValueError(f"a conversation is a list of messages; received {self.messages!r}")
        for message in self.messages:
            if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
                raise ValueError(f'a message is {{"role": "user", "content": "..."}}; received {message!r}')

    @property
    def pictures(self) -> list[Any]:
        """The pictures of its messages, in order: of the parts `{"type": "image", "path": "cat.png"}`, or `"image"`
        with a path or what else a tokenizer of pictures takes. Parts that hold none, `{"type": "image"}`, have their
        pictures beside the conversation, and are left out.

        Raises:
            ValueError: a picture is said by an address of the network, from where nothing is fetched.

        Example:
            >>> parts = [{"type": "image", "path": "cat.png"}, {"type": "text", "text": "What is it?"}]
            >>> Conversation(messages=[{"role": "user", "content": parts}]).pictures
            [PosixPath('cat.png')]
        """
        held = [_held(part) for message in self.messages for part in _parts(message)]
        return [Path(each) if isinstance(each, str) else each for each in held if each is not None]

    def with_pictures(self, read: Callable[[Any], Any]) -> "Conversation":
        """The same conversation with what a function makes of each of its pictures.

        Args:
            read: gets what stands for a picture, such as its path.
        """

        def content(parts: Any) -> Any:
            """The same, with what is read."""
            held = [(part, _held(part) if isinstance(part, Mapping) else None) for part in parts]
            return [part if each is None else {"type": "image", "image": read(each)} for part, each in held]

        return self._with_contents(list | tuple, content)

    def in_parts(self) -> "Conversation":
        """The same conversation with the content of each message as a list of parts, as templates of models that see
        read it.
        """
        return self._with_contents(str, lambda text: [{"type": "text", "text": text}])

    def _with_contents(self, kind: Any, change: Callable[[Any], Any]) -> "Conversation":
        """The same conversation with other contents of messages, where these are of a kind."""
        messages = [
            {**each, "content": change(each["content"])} if isinstance(each.get("content"), kind) else each
            for each in self.messages
        ]
        return replace(self, messages=messages)


class Rendered(NamedTuple):
    """A conversation as text.

    Args:
        text: all of it.
        written: from which to before which character the assistant's words stand, in order; None where the template
            does not tell.
    """

    text: str
    written: list[Span] | None


def render(template: str, talk: Conversation, special: Mapping[str, str]) -> Rendered:
    """A conversation as text, as the reference's `apply_chat_template` makes it.

    The assistant's words are what stands in the template's `{% generation %}` blocks. Where it has none, they are what
    a message of the assistant adds behind the point where the template would let the assistant begin.

    Args:
        template: in the language of jinja; it runs in a sandbox and sees nothing but plain values.
        talk: the conversation.
        special: special tokens by the names that templates know them by, such as `bos_token`.

    Raises:
        ValueError: the template is damaged, or refuses such a conversation; says why.

    Example:
        >>> template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        >>> render(template, Conversation(messages=[{"role": "user", "content": "hi"}]), {}).text
        '<user>hi'
    """
    messages = [_message(each) for each in talk.messages]
    names = {**special, **_plain(dict(talk.options or {})), "tools": _plain(talk.tools), "documents": None}
    environment, compiled = _compiled(template)
    text, marked = environment.tracked(compiled, {**names, "messages": messages, "add_generation_prompt": talk.goes_on})
    if marked or not any(each["role"] == "assistant" for each in messages):
        return Rendered(text, marked)

    def part(n: int, goes_on: bool) -> str:
        """The text of the first messages."""
        return environment.tracked(compiled, {**names, "messages": messages[:n], "add_generation_prompt": goes_on})[0]

    return Rendered(text, _behind(text, [message["role"] for message in messages], part))


def _behind(text: str, roles: Sequence[str], part: Callable[[int, bool], str]) -> list[Span] | None:
    """Where the assistant's messages stand; None where the beginnings of a conversation are not those of the whole."""
    spans = []
    for i, role in enumerate(roles):
        if role != "assistant":
            continue
        try:
            before, whole = part(i, True), part(i + 1, False)
        except ValueError:
            return None
        if not (text.startswith(whole) and whole.startswith(before)):
            return None
        spans.append((len(before), len(whole)))
    return spans


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of a message, where its content is no plain text."""
    content = message.get("content")
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list | tuple) else []


def _held(part: Mapping[str, Any]) -> Any:
    """What stands for the picture of a part; None where it holds none."""
    if part.get("type") != "image":
        return None
    if "url" in part:
        raise ValueError('a picture is {"type": "image", "path": "cat.png"}; addresses ("url") are not fetched')
    return next((part[key] for key in _HELD if part.get(key) is not None), None)


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of plain values, without empty keys and pictures, whose reasoning has the names that templates know."""
    if any(part.get("type") == "image" for part in _parts(message)):
        bare = [{k: v for k, v in part.items() if k not in _HELD} for part in _parts(message)]
        message = {**message, "content": bare}
    plain = {key: value for key, value in _plain(dict(message)).items() if value is not None}
    reasoning = next((plain[key] for key in _REASONING if key in plain), None)
    return plain if reasoning is None else {"thinking": reasoning, **plain, "reasoning_content": reasoning}


def _plain(value: Any) -> Any:
    """Plain values alone: methods of other objects would be open to the template."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    raise ValueError(f"a conversation holds texts, numbers, lists and mappings; received {type(value).__name__}")


@lru_cache(maxsize=16)
def _compiled(template: str) -> tuple[Any, Any]:
    """The sandbox, and the template in it."""
    need("jinja2", "a chat template")
    from jinja2 import TemplateError

    from omniformer_tokenizers.text.sandbox import Sandbox

    environment = Sandbox()
    try:
        return environment, environment.from_string(template)
    except (TemplateError, SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise ValueError(f"the chat template is damaged: {error}") from error


class ChatTemplate:
    """How conversations become ids of one vocabulary.

    What people write stays text: special tokens that it spells become no special tokens, so that a message cannot
    pretend to be another one. Those of the template do. (So does the reference with `sanitize_control_tokens=True`;
    without it, as by default, messages may spell them.)

    Args:
        templates: by name: `default`, and maybe `tool_use`, which is for conversations with tools.
        names: special tokens by the names that templates know them by.
    """

    def __init__(self, templates: Mapping[str, str], names: Mapping[str, str]) -> None:
        self.templates, self.names = dict(templates), dict(names)

    def pieces(self, talk: Conversation, special: Sequence[str]) -> "tuple[list[Piece], list[Span] | None]":
        """A conversation in stretches of its text, and where in them all the assistant's words stand.

        Args:
            talk: the conversation.
            special: tokens of the vocabulary that messages may not spell.

        Raises:
            ValueError: the template refuses it, or there are several and none is the default.
        """
        known = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or "(?!)")
        marks = re.compile(f"{_OPEN}({known.pattern}){_CLOSE}|[{_OPEN}{_CLOSE}]")
        marked = Conversation(
            messages=_marked(talk.messages, known),
            tools=_marked(talk.tools, known),
            goes_on=talk.goes_on,
            options=_marked(talk.options, known),
        )
        text, written = render(self._template(talk), marked, self.names)
        found, start = [], 0
        for mark in marks.finditer(text):
            found.append(Piece(text[start : mark.start()], start, spelled=False))
            if mark[1]:
                found.append(Piece(mark[1], mark.start(1), spelled=True))
            start = mark.end()
        found.append(Piece(text[start:], start, spelled=False))
        return [piece for piece in found if piece.text], written

    def _template(self, talk: Conversation) -> str:
        name = "tool_use" if talk.tools and "tool_use" in self.templates else "default"
        if name not in self.templates:
            raise ValueError(f"there are chat templates {', '.join(self.templates)}, of which none is the default")
        return self.templates[name]


class Piece(NamedTuple):
    """A stretch of a conversation's text.

    Args:
        text: without marks.
        start: which character of the rendered text, marks included, is its first.
        spelled: whether it is a special token that somebody spelled, to be read as plain text.
    """

    text: str
    start: int
    spelled: bool


# Private characters around special tokens that messages spell; those that stand in messages already are taken out.
_OPEN, _CLOSE = "\U000f0000", "\U000f0001"


def _marked(value: Any, known: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return known.sub(lambda match: f"{_OPEN}{match[0]}{_CLOSE}", value.replace(_OPEN, "").replace(_CLOSE, ""))
    if isinstance(value, Mapping):
        return {key: _marked(each, known) for key, each in value.items()}
    return [_marked(each, known) for each in value] if isinstance(value, list | tuple) else value
