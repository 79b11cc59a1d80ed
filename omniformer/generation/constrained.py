"""Answers that follow a JSON schema or a regular expression, whatever the model would rather write."""

import json
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer
from torch import Tensor

from omniformer.generation.adjusting import Adjustment
from omniformer.generation.strategy import Chosen

log = logging.getLogger(__name__)

# Between the parts of a JSON text: enough to indent it, and an end, which a model may not find by itself.
_BLANKS = r"[ \n]{0,20}"
_MARK = "\N{LOWER ONE EIGHTH BLOCK}"
_KEPT = 256  # states of answers that may go on, beside those at hand


class Constrained(Adjustment):
    """Forbids each id after which no answer of the given form could follow, by the library llguidance.

    An answer may end where it is whole. One that reaches the most tokens before is not: `Writer` says so.

    Args:
        tokenizer: of text, whose ids stand for bytes or for pieces with blanks marked, as those of LLaMA do.
        schema: a JSON schema that the answer is to fulfil; what of it the library cannot hold is refused.
        regex: a regular expression that the whole answer is to match, in the syntax of Rust's library `regex`.

    Raises:
        ImportError: llguidance is not installed; says what to install.
        ValueError: both or none of schema and regex are given, it is none, or ids of the tokenizer do not say which
            text they stand for.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> digits = Constrained(ByteTokenizer(), regex="[0-9]{2}")
        >>> digits(torch.zeros(1, 257), before=[[]], written=[[ord("4")]]).isfinite().nonzero()[:, 1].tolist()
        [48, 49, 50, 51, 52, 53, 54, 55, 56, 57]
    """

    def __init__(
        self, tokenizer: Tokenizer, *, schema: Mapping[str, Any] | bool | None = None, regex: str | None = None
    ) -> None:
        if (schema is None) == (regex is None):
            raise ValueError("give a schema or a regex, one of the two")
        try:
            import llguidance
        except ImportError as error:
            raise ImportError(
                "answers of a given form need llguidance, not installed here: uv sync --extra constrained in a clone, "
                "pip install llguidance elsewhere"
            ) from error
        self.said = "schema" if regex is None else f"regex={regex!r}"
        self._stops: tuple[int, ...] = tuple(getattr(tokenizer, "stops", ()))
        if not self._stops:
            raise ValueError(f"this {type(tokenizer).__name__} has no stop, without which no answer of a form can end")
        vocabulary = llguidance.TokenizerWrapper(_Vocabulary(tokenizer, self._stops))
        self._tokenizer = llguidance.LLTokenizer(vocabulary, eos_token=list(self._stops))
        self._matcher: Any = llguidance.LLMatcher
        self._grammar = self._checked(schema, regex)
        # By what is written: the state, and which ids may follow. A step asks for the same several times, and goes on
        # from one of the step before.
        self._states: OrderedDict[tuple[int, ...], tuple[Any, Tensor]] = OrderedDict()

    def __call__(self, scores: Tensor, *, before: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> Tensor:
        masks = [self._allowed(tuple(ids)) for ids in written]
        while len(self._states) > _KEPT + len(written):
            self._states.popitem(last=False)
        allowed = torch.zeros(scores.shape, dtype=torch.bool)
        n = min(scores.shape[1], self._tokenizer.vocab_size)
        for row, mask in enumerate(masks):
            allowed[row, :n] = mask[:n]
        found = scores.masked_fill(~allowed.to(scores.device), -torch.inf)
        if not bool((found > -torch.inf).any(-1).all()):
            raise ValueError(f"{self.said}: no id may follow in an answer; leave out what else forbids ids")
        return found

    def _allowed(self, ids: tuple[int, ...]) -> Tensor:
        """Which ids may follow those that are written.

        Shapes:
            bool `[vocab_size]`.
        """
        if not set(self._stops).isdisjoint(ids):
            return torch.ones(self._tokenizer.vocab_size, dtype=torch.bool)  # a draft guesses beyond the end
        if ids not in self._states:
            if ids and ids[:-1] in self._states:
                state, rest = self._states[ids[:-1]][0].deep_copy(), ids[-1:]
            else:
                state, rest = self._matcher(self._tokenizer, self._grammar), ids
            if rest and not state.consume_tokens(list(rest)):
                raise ValueError(f"{self.said}: what is written does not follow it: {_first_line(state.get_error())}")
            self._states[ids] = state, self._mask(state)
        self._states.move_to_end(ids)
        return self._states[ids][1]

    def _mask(self, state: Any) -> Tensor:
        mask = torch.frombuffer(bytearray(state.compute_logit_bias()), dtype=torch.uint8).bool()
        if state.is_error():
            raise ValueError(
                f"{self.said}: no id may follow in an answer ({_first_line(state.get_error())}); the vocabulary cannot "
                "spell what is asked for, or it is too much for llguidance"
            )
        mask[list(self._stops)] = state.is_accepting()
        return mask

    def _checked(self, schema: Mapping[str, Any] | bool | None, regex: str | None) -> str:
        """The grammar, once it is sure that it can be followed."""
        if regex is not None:
            grammar = self._matcher.grammar_from_regex(regex)
        else:
            try:
                grammar = self._matcher.grammar_from_json_schema(
                    json.dumps(schema), overrides={"whitespace_pattern": _BLANKS}
                )
            except (TypeError, ValueError) as error:
                raise ValueError(f"schema is no JSON schema: {_first_line(str(error))}") from error
        wrong, said = self._matcher.validate_grammar_with_warnings(grammar, self._tokenizer)
        if wrong or said:
            raise ValueError(f"{self.said} cannot be followed: {_first_line(said[0])}")
        return grammar


def form_of(
    tokenizer: Tokenizer,
    *,
    schema: Mapping[str, Any] | bool | None,
    regex: str | None,
    stop: Sequence[str],
    min_new_tokens: int,
) -> tuple[Constrained, ...]:
    """The form that answers are to have; none where neither schema nor regex is given.

    Raises:
        ImportError: llguidance is not installed.
        ValueError: there is no such form, what is written is no text, or another option says where answers end.
    """
    if schema is None and regex is None:
        return ()
    if tokenizer.modality != "text":
        raise ValueError(f"{tokenizer.modality} is written, no text: leave out schema and regex")
    if stop or min_new_tokens:
        raise ValueError("a schema or regex says itself where an answer ends; leave out stop and min_new_tokens")
    return (Constrained(tokenizer, schema=schema, regex=regex),)


def watched(chosen: Iterator[Chosen]) -> Iterator[Chosen]:
    """The ids of one answer of a form; where none of them ends it, this is told."""
    ended = False
    for each in chosen:
        ended = each.stops
        yield each
    tell_cut([ended])


def tell_cut(ended: Sequence[bool]) -> None:
    """Says how many answers do not have their form since they were cut.

    Args:
        ended: of each answer, whether the model ended it.
    """
    if cut := ended.count(False):
        log.warning("%s of %s answers are cut before they are whole; raise max_new_tokens", cut, len(ended))


class _Vocabulary:
    """What llguidance asks of a tokenizer."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[int]) -> None:
        self.eos_token_id = stops[0]
        self.tokens = token_bytes(tokenizer)
        self.special_token_ids = [i for i, each in enumerate(self.tokens) if not each]
        self._tokenizer = tokenizer
        self._by_bytes = {each: i for i, each in reversed(list(enumerate(self.tokens))) if each}
        self._longest = max(map(len, self._by_bytes), default=0)

    def __call__(self, text: str) -> list[int]:
        """The ids of text that must come next: as the model has learned them, or else the longest ones that fit, where
        the tokenizer would begin a text otherwise than go on with it.
        """
        if not isinstance(text, str):
            raise TypeError(f"expected text, received {type(text).__name__}")
        ids = self._tokenizer(text).values.tolist()
        if b"".join(self.tokens[i] for i in ids) == text.encode() and not set(ids) & set(self.special_token_ids):
            return ids
        found, rest = [], text.encode()
        while rest:
            fits = next((n for n in range(self._longest, 0, -1) if rest[:n] in self._by_bytes), None)
            if fits is None:
                break  # what no id spells, the mask leaves without one
            found.append(self._by_bytes[rest[:fits]])
            rest = rest[fits:]
        return found


def token_bytes(tokenizer: Any) -> list[bytes]:
    """The bytes of text that each id of a tokenizer adds to an answer; none for a special token.

    Raises:
        ValueError: what an id stands for depends on those beside it.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> token_bytes(ByteTokenizer())[65]
        b'A'
    """
    table = getattr(tokenizer, "token_bytes", None)
    if table is not None:
        return list(table)
    pieces: Mapping[int, str] = tokenizer._pieces() if hasattr(tokenizer, "_pieces") else {}
    if not any(_MARK in piece for piece in pieces.values()):
        raise ValueError(
            f"ids of this {type(tokenizer).__name__} do not say by themselves which text they stand for; answers of a "
            "given form need a vocabulary of bytes, characters, or pieces with marked blanks"
        )
    special = {tokenizer.special_id(name) for name in tokenizer.special_tokens}
    found = [b""] * tokenizer.vocab_size
    for i, piece in pieces.items():
        is_byte = len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")
        if i not in special:
            found[i] = bytes([int(piece[3:5], 16)]) if is_byte else piece.replace(_MARK, " ").encode()
    return found


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "it says no more"
