"""What of a run does not go together, told in one sentence before anything is made, fitted or learned."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from omniformer_tokenizers import Tokenizer

from omniformer.batch import Sample
from omniformer.config.accepts import kind
from omniformer.config.build import locate
from omniformer.config.signature import signature
from omniformer.data.module import OmniDataModule
from omniformer.data.samples import SampleError, Samples
from omniformer.data.source import Raw, Source
from omniformer.recipe import Node, by_modality, members, parts_of
from omniformer.tasks.task import Task

_TRIES = 10  # of more samples than that in a row that cannot be read, training tells


def need_embedders(config: Mapping[str, Any], data: OmniDataModule, brought: Callable[[str], bool]) -> None:
    """Makes sure that every embedder can read what its tokenizer gives, before that is fitted.

    A tokenizer that knows nothing of its sizes before it is fitted is left to the model.

    Args:
        config: the checked configuration.
        data: with the tokenizers, not yet fitted.
        brought: whether the weights that the run begins from bring the embedder of a modality along.

    Raises:
        ConfigError: one description for several modalities.
        ValueError: an embedder needs what neither tokenizer nor data give, or a modality has none.
    """
    for name, member in members(config).items():
        tokenizers = data.tokenizers[name]
        fresh = [modality for modality in tokenizers if not brought(modality)]
        nodes = by_modality(member["embedder"], fresh) if fresh else {}
        if lacking := [modality for modality in fresh if modality not in nodes]:
            raise ValueError(
                f"{name}.embedder: has none for {lacking[0]}, which {type(tokenizers[lacking[0]]).__name__} reads; "
                f"there are those for {', '.join(nodes)}"
            )
        for modality in fresh:
            _need_embedder(nodes[modality], tokenizers[modality], name, modality, data.streams[name].source)


def _need_embedder(node: Node, tokenizer: Tokenizer, name: str, modality: str, source: Source) -> None:
    try:
        facts = dict(tokenizer.facts)
    except ValueError:
        return
    for part in parts_of(node):
        if problem := _misfit(part, facts, tokenizer.fitted, source):
            raise ValueError(
                f"{name}: the tokenizer of {modality} ({type(tokenizer).__name__}) gives {', '.join(facts)}, embedder "
                f"{part['_target_'].split('.')[-1]} needs {problem}; choose the embedder that goes with the tokenizer, "
                f"as modality={modality} does, or another tokenizer"
            )


def _misfit(part: Node, facts: Mapping[str, Any], final: bool, source: Source) -> str | None:
    """What a part needs and is not given, or is given out of its range."""
    for name, parameter in signature(part["_target_"]).parameters.items():
        if name in part or name == "d_model":
            continue
        if name not in facts:
            if parameter.required and not part.get("_partial_") and name not in source.facts:
                return name
        elif final and isinstance(facts[name], int | float):
            accepted = kind(parameter.annotation, parameter.module)
            if not accepted.accepts(facts[name]):
                return f"{name}, {accepted.words}, and receives {facts[name]}"
    return None


def need_classes(config: Mapping[str, Any], data: OmniDataModule) -> None:
    """Refuses to tell classes apart where there are too few of them.

    Raises:
        ValueError: a task wants more classes than its data have; names both.
    """
    for name, member in members(config).items():
        source = data.streams[name].source
        least = getattr(locate(member["task"]["_target_"]), "least_classes", 1)
        if (n := source.facts.get("n_classes", least)) < least:
            raise ValueError(
                f"{name}: {source.name} has one class, {source.labels[0]!r}, and {name}.task tells classes apart; add "
                "a second one, or choose a task without classes"
                if n == 1 and source.labels
                else f"{name}: {source.name} has {n} classes, and {name}.task tells at least {least} apart"
            )


def need_targets(tasks: Mapping[str, Task], data: OmniDataModule) -> None:
    """Makes sure that samples have what a task learns from, and says which of their targets it does not read.

    Args:
        tasks: by member.
        data: set up.

    Raises:
        ValueError: the first training sample that can be read has nothing for its task to predict, or samples are mixed
            for a task that cannot take them so.
    """
    for name, task in tasks.items():
        sample = _first(data.samples(name, "train"))
        if sample is None:
            continue
        source, learner, held = data.streams[name].source.name, type(task).__name__, _held(sample)
        wanted = [*task.targets, *(f"{each} of each token" for each in task.token_targets)]
        wanted += ["an answer"] * task.needs_answer
        if not {*wanted} <= {*held}:
            raise ValueError(
                f"{name}: {learner} learns from {_listed(wanted)}, and samples of {source} have {_listed(held)}; "
                "choose the task that goes with the data, or data that have it"
            )
        if data.streams[name].mix is not None and not task.takes_mixed:
            raise ValueError(
                f"{name}: {learner} does not learn from mixed samples, which have shares of classes; leave data.mix "
                "out, or choose a task of classes or numbers of whole samples"
            )
        if unread := [each for each in _asked(data.streams[name].raws("train")[0]) if each not in wanted]:
            rank_zero_info(
                f"{name}: samples of {source} have {_listed(unread)}, which {learner} does not learn from; choose "
                "another task= if it should be learned"
            )


def _first(samples: Samples) -> Sample | None:
    """The first sample that can be read, of a few."""
    for index in range(min(len(samples), _TRIES)):
        with suppress(SampleError):
            return samples(0, index)
    return None


def _asked(raw: Raw) -> list[str]:
    """What the data ask of a sample, before it is tokenized, in the words of messages."""
    spans = ["span" for marks in raw.marks.values() if marks.span is not None]
    words = ["label" for marks in raw.marks.values() if marks.words is not None]
    return [*raw.targets, *spans, *(f"{each} of each token" for each in (*raw.token_targets, *words))]


def _held(sample: Sample) -> list[str]:
    """What a sample holds to be predicted, in the words of messages."""
    of_tokens = [f"{each} of each token" for each in sample.token_targets]
    return [*sample.targets, *of_tokens, *(["an answer"] if sample.answer else [])]


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "no targets"
