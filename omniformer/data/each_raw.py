"""The default of examples: one for each raw sample, with every modality that it has."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from omniformer_tokenizers import Conversation, Tokenizer, Tokens
from omniformer_tokenizers.text.shortening import shortened
from torch import Tensor

from omniformer.batch import WRITTEN, Sample, asked
from omniformer.data.augment.augmentation import Augment, Augmentation
from omniformer.data.marks import MarkedTokens, TokenlessWords
from omniformer.data.random import generator
from omniformer.data.remote import Remote
from omniformer.data.samples import SampleError, Samples
from omniformer.data.source import Raw

_HELD = "vision"  # the modality of what messages hold beside text
_UNREADABLE = (ValueError, TypeError, OSError, EOFError)


class EachRaw(Samples):
    """One example for each raw sample: every modality it has goes through its tokenizer, in the order of its contents;
    or where a text has places for it, as a conversation has for pictures.

    Tokens of answers that are ids stand between the ids with which a model begins and ends to write.

    Args:
        raws: the raw samples.
        tokenizers: by modality; every modality of the raw samples needs one. Tokens get the modality's name, whatever
            the tokenizer calls them.
        name: the name of the data set, for messages.
        seed: the seed of the run.
        augment: by modality, what changes the raw content at random, keyed by (seed, epoch, sample id).
        augment_tokens: the same for the tokens.
        cache: keep the tokens of every example in memory once made. Each worker keeps its own.
        answer: the modality that a model is to write instead of being given it: a caption, a picture. None leaves
            contents and answers as the raw samples have them.
        drop: how likely each modality is left out of an example, keyed like `augment`; at least one always stays
            ([Neverova et al. 2016](https://arxiv.org/abs/1501.00102), ModDrop).
        n_classes: how many classes the data set has: the target `label`, of samples and of tokens that count, must be
            one of 0 to n_classes - 1. None where it is not known; then labels are taken as they are.
        max_tokens: the longest text: of a longer one the end is left out, but for special tokens that close it. None
            leaves texts whole.
    """

    def __init__(
        self,
        raws: Sequence[Raw],
        tokenizers: Mapping[str, Tokenizer],
        *,
        name: str,
        seed: int,
        augment: Mapping[str, Augment] | None = None,
        augment_tokens: Mapping[str, Augment] | None = None,
        cache: bool = False,
        answer: str | None = None,
        drop: float = 0.0,
        n_classes: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.raws = raws
        self.tokenizers = tokenizers
        self.name = name
        self.seed = seed
        self.augment = {modality: Augmentation.of(each) for modality, each in (augment or {}).items()}
        self.augment_tokens = augment_tokens or {}
        self.cache = cache
        self.answer = answer
        self.drop = drop
        self.n_classes = n_classes
        self.max_tokens = max_tokens
        self._kept: dict[int, tuple[dict[str, list[Tokens]], dict[str, Tokens]]] = {}
        self._tokenless = TokenlessWords(name)

    def __len__(self) -> int:
        return len(self.raws)

    def id(self, index: int) -> str:
        """The id of an example, without making it."""
        return self.raws[index].id

    def __call__(self, epoch: int, index: int) -> Sample:
        """One example as epoch `epoch` sees it."""
        try:
            raw = self.raws[index]
        except ValueError as error:
            raise SampleError(f"sample {index} of {self.name}: {error}") from error
        try:
            return self._made([(epoch, index)], [raw])[0]
        except _UNREADABLE as error:
            raise SampleError(f"sample {raw.id!r} of {self.name}: {error}") from error

    def many(self, keys: Sequence[tuple[int, int]]) -> list[Sample]:
        """The examples of some (epoch, index), augmented and tokenized together."""
        try:
            return self._made(keys, [self.raws[index] for _, index in keys])
        except _UNREADABLE:
            return super().many(keys)  # tells which

    def _made(self, keys: Sequence[tuple[int, int]], raws: Sequence[Raw]) -> list[Sample]:
        for raw in raws:
            self._check_labels(raw)
        fresh = [place for place, (_, index) in enumerate(keys) if index not in self._kept]
        tokens = self._tokenize([raws[place] for place in fresh], [keys[place][0] for place in fresh])
        made = dict(zip(fresh, tokens, strict=True))
        if self.cache and not self.augment:
            self._kept |= {keys[place][1]: each for place, each in made.items()}
        return [
            self._example(raw, epoch, *(made[place] if place in made else self._kept[index]))
            for place, (raw, (epoch, index)) in enumerate(zip(raws, keys, strict=True))
        ]

    def _example(
        self, raw: Raw, epoch: int, given: Mapping[str, Sequence[Tokens]], written: Mapping[str, Tokens]
    ) -> Sample:
        given = {name: [self._vary(name, each, raw.id, epoch) for each in pieces] for name, pieces in given.items()}
        present = {modality: given[modality] for modality in self._present(list(given), raw.id, epoch)}
        targets, token_targets = self._marked(raw, present)
        talk = self._in_order(raw, present)
        pieces, token_targets = _answered(talk, token_targets)
        return Sample(
            id=raw.id,
            pieces=pieces,
            answer=tuple(written.values()),
            targets=targets,
            token_targets=token_targets,
            prefix=asked(talk),
        )

    def _in_order(self, raw: Raw, pieces: Mapping[str, Sequence[Tokens]]) -> list[Tokens]:
        """The pieces one after the other, those of other modalities where a text has places for them."""
        holding = next((name for name in pieces if self.tokenizers[name].placeholders), None)
        if holding is None:
            return [piece for each in pieces.values() for piece in each]
        if raw.token_targets or raw.marks:
            raise ValueError("targets of tokens cannot be counted in a text with pictures in it; leave them out")
        (text,) = pieces[holding]
        others = {name: each for name, each in pieces.items() if name != holding}
        return self.tokenizers[holding].interleave(text, others)

    def _marked(
        self, raw: Raw, pieces: Mapping[str, Sequence[Tokens]]
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """The targets of a sample and of its tokens, with those of stretches of its text."""
        targets, token_targets = raw.targets, raw.token_targets
        for modality, marks in raw.marks.items():
            before, start = 0, None
            for name, each in pieces.items():
                start = before if name == modality else start
                before += sum(map(len, each))
            found = MarkedTokens(marks, raw.contents.get(modality), self.tokenizers[modality])
            of_sample, of_tokens = self._tokenless.told(raw.id, found).targets(start, before)
            targets, token_targets = {**targets, **of_sample}, {**token_targets, **of_tokens}
        return targets, token_targets

    def _check_labels(self, raw: Raw) -> None:
        """Refuses classes that there are not: on a GPU, the loss would end the run without a word of the sample."""
        if self.n_classes is None:
            return
        for labels, which in (
            (raw.targets.get("label"), None),
            (raw.token_targets.get("label"), raw.token_targets.get("mask")),
        ):
            if labels is None or (not labels.ndim and 0 <= int(labels) < self.n_classes):
                continue
            wrong = (labels < 0) | (labels >= self.n_classes)
            if which is not None:
                wrong = wrong & which
            if wrong.any():
                place = f" of token {int(wrong.nonzero()[0, 0])}" if wrong.ndim else ""
                raise ValueError(
                    f"label{place}: received {labels[wrong][0].item()}, accepted 0 to {self.n_classes - 1}; "
                    "correct the data, or the n_classes that the data set states"
                )

    def _tokenize(
        self, raws: Sequence[Raw], epochs: Sequence[int]
    ) -> list[tuple[dict[str, list[Tokens]], dict[str, Tokens]]]:
        """Of each raw sample what is given and what is to be written, by modality."""
        parts = [self._parts(raw) for raw in raws]
        pictures = [_pictures(given) for given, _ in parts]
        by_modality: dict[str, list[tuple[Raw, int, dict[str, Any]]]] = {}
        for raw, epoch, both, held in zip(raws, epochs, parts, pictures, strict=True):
            for part in (*both, *held):
                for modality in part:
                    by_modality.setdefault(modality, []).append((raw, epoch, part))
        for modality, holding in by_modality.items():
            self._encode(modality, holding)
        return [
            (self._given(raw, given, held), self._written(raw, written))
            for raw, (given, written), held in zip(raws, parts, pictures, strict=True)
        ]

    def _parts(self, raw: Raw) -> tuple[dict[str, Any], dict[str, Any]]:
        """The contents that are given and those that are the answer."""
        contents, answer = dict(raw.contents), dict(raw.answer)
        if self.answer is not None and self.answer not in answer:
            if self.answer not in contents:
                raise ValueError(f"has no {self.answer!r} to be the answer, only {sorted(contents)}")
            answer[self.answer] = contents.pop(self.answer)
        return contents, answer

    def _given(self, raw: Raw, pieces: dict[str, Tokens], held: Sequence[dict[str, Tokens]]) -> dict[str, list[Tokens]]:
        if not (raw.token_targets or raw.marks):  # which belong to tokens that would be left out
            pieces = {modality: self._cut(tokens) for modality, tokens in pieces.items()}
        found = {modality: [tokens] for modality, tokens in pieces.items()}
        return found | ({_HELD: [each[_HELD] for each in held]} if held else {})

    def _written(self, raw: Raw, pieces: dict[str, Tokens]) -> dict[str, Tokens]:
        written = {}
        for modality, tokens in pieces.items():
            if not len(tokens):
                content = raw.answer.get(modality, raw.contents.get(modality))
                raise ValueError(f"the answer {content!r} has no tokens; there is nothing to learn from it")
            written[modality] = self._cut(self.tokenizers[modality].answer(tokens))
        return written

    def _cut(self, tokens: Tokens) -> Tokens:
        """A text that is not too long; anything else as it is."""
        return shortened(tokens, self.tokenizers[tokens.modality], self.max_tokens)

    def _encode(self, modality: str, holding: Sequence[tuple[Raw, int, dict[str, Any]]]) -> None:
        """Puts the tokens of a modality in the place of its contents.

        Args:
            modality: which.
            holding: raw samples, the epochs that see them, and their contents by modality.
        """
        if modality not in self.tokenizers:
            raise KeyError(
                f"{self.name} holds {modality!r}, but there are tokenizers only for {sorted(self.tokenizers)}; "
                f"add a tokenizer for {modality!r}"
            )
        contents = [part[modality] for *_, part in holding]
        contents = [content.read() if isinstance(content, Remote) else content for content in contents]
        if modality in self.augment:
            chances = [generator(self.seed, epoch, raw.id, f"augment {modality}") for raw, epoch, _ in holding]
            contents = self.augment[modality].many(contents, chances)
        encoded = self.tokenizers[modality].encode_batch(contents)
        for (*_, part), content, tokens in zip(holding, contents, encoded, strict=True):
            if isinstance(content, Conversation) and WRITTEN not in tokens.features:
                raise ValueError(
                    "the chat template does not tell which words of the conversation are the assistant's, of which "
                    "models learn; put {% generation %} and {% endgeneration %} around them in the template"
                )
            part[modality] = tokens if tokens.modality == modality else replace(tokens, modality=modality)

    def _vary(self, modality: str, piece: Tokens, sample_id: str, epoch: int) -> Tokens:
        if modality not in self.augment_tokens:
            return piece
        chance = generator(self.seed, epoch, sample_id, f"augment tokens of {modality}")
        return self.augment_tokens[modality](piece, chance)

    def _present(self, modalities: list[str], sample_id: str, epoch: int) -> list[str]:
        """The modalities that this example keeps."""
        if not self.drop or len(modalities) < 2:
            return modalities
        chance = generator(self.seed, epoch, sample_id, "drop modalities")
        kept = (torch.rand(len(modalities), generator=chance) >= self.drop).tolist()
        if not any(kept):
            kept[int(torch.randint(len(modalities), (), generator=chance))] = True
        return [modality for modality, stays in zip(modalities, kept, strict=True) if stays]


def _pictures(contents: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pictures that conversations hold, each like the contents of a sample."""
    held = [each for talk in contents.values() if isinstance(talk, Conversation) for each in talk.pictures]
    if held and _HELD in contents:
        raise ValueError("pictures stand in the messages and beside them; give them in one place")
    return [{_HELD: each} for each in held]


def _answered(
    pieces: Sequence[Tokens], token_targets: Mapping[str, Tensor]
) -> tuple[tuple[Tokens, ...], Mapping[str, Tensor]]:
    """Conversations as tokens of which those count, as the token target `mask`, that the assistant wrote."""
    if not any(WRITTEN in piece.features for piece in pieces):
        return tuple(pieces), token_targets
    masks = [piece.features.get(WRITTEN, torch.zeros(len(piece), dtype=torch.bool)) for piece in pieces]
    plain = tuple(
        replace(piece, features={key: each for key, each in piece.features.items() if key != WRITTEN})
        for piece in pieces
    )
    return plain, {**token_targets, "mask": torch.cat(masks)}
