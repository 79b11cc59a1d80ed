"""The keys of a whole configuration, written as classes: their annotations are checked like any constructor's."""

from dataclasses import dataclass, field
from typing import Literal

from omniformer.core.ranges import Count, Positive, Seed


class Node:
    """A part to be built: a mapping with `_target_` and the keyword arguments of that class or function."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where a run reads and writes.

    Args:
        output_root: the folder of all runs.
        output_dir: the folder of this run; nothing is written outside it.
        sweep_dir: the folder of the runs of a sweep, which are numbered inside it.
    """

    output_root: str
    output_dir: str
    sweep_dir: str


@dataclass(frozen=True, kw_only=True)
class Model:
    """What the model begins from, and which of it learns.

    Args:
        pretrained: the folder of a finished run, whose weights are the beginning wherever names and shapes agree; or
            that of a published model (or of a run that began from one), whose core, embedders and tokenizers are taken
            over as they are.
        freeze: shell patterns of parameters that stay as they are; one that begins with `!` thaws again.
        core: keys laid over the core, published or not, such as `{dropout: 0.2}`.
        lora: updates of low rank beside projections of a model that otherwise stays as it is: the options of
            `omniformer.adapters.LoRA`.
        probe: whether a fresh head of classes, yes-no questions or numbers begins as a linear probe of what the model
            that the run begins from makes of its samples: before anything else learns, by regression
            ([Kumar et al. 2022](https://arxiv.org/abs/2202.10054)). It reads all training and validation samples once,
            and what it finds is validated before the first step: a run ends no worse. Null, the default, where all but
            heads comes with weights.
        weights: rounds what does not learn beside `lora` to numbers of 8 or 4 bits, which takes less memory.
        special_tokens: names of further special tokens of a published vocabulary.
        image_size: height and width of pictures, or one number for a square, where they are to differ from those of a
            published model.
    """

    pretrained: str | None = None
    freeze: list[str] = field(default_factory=list)
    core: dict[str, object] | None = None
    lora: dict[str, object] | None = None
    probe: bool | None = None
    weights: Literal["int8", "int4"] | None = None
    special_tokens: list[str] = field(default_factory=list)
    image_size: Count | list[Count] | None = None


@dataclass(frozen=True, kw_only=True)
class Member:
    """One modality, or one data set, of a joint run; how often it is seen is told by `data.weight`."""

    tokenizer: Node | dict[str, Node]
    embedder: Node | dict[str, Node]
    data: Node
    task: Node


@dataclass(frozen=True, kw_only=True)
class Root:
    """A whole configuration.

    Args:
        seed: keys every random choice of the run.
        data_root: the folder in which data sets that must be downloaded or prepared are looked for.
        resume: the run folder, or the checkpoint, to go on from; `auto` for the newest run of this name, if any.
        steps_per_epoch: training steps between two validations; null passes all the data once.
        mixture_temperature: how far the sizes of data sets decide how often each takes part in a joint run: 1 by size,
            more evens out, null leaves it to the weights.
        name: the folder of the run under `paths.output_root`.
        allow_targets: packages of the user's own whose classes `_target_` may name; counts on the command line alone.
        baselines: whether simple methods are measured on the data beside the run, where they were not yet; see
            `omniformer baseline`.
        paths: where a run reads and writes; the keys of `Paths`.
        model: what the model begins from, and which of it learns; the keys of `Model`.
        core: the shared transformer.
        tokenizer: raw to tokens; one part, or one for each modality.
        embedder: tokens to vectors; one part, or one for each modality.
        data: the data module.
        task: loss and metrics.
        optim: optimizer and schedule.
        trainer: lightning's Trainer.
        callbacks: callbacks by name; null switches one off.
        logger: loggers by name.
        members: in a joint run, the members by name; the four keys above are then null.
        report: whether a run that is through writes `report.html` and `report.md`; needs matplotlib, and does without
            where that is not installed.
    """

    seed: Seed
    data_root: str
    resume: str | None = None
    steps_per_epoch: Count | None = None
    mixture_temperature: Positive | None = None
    name: str
    allow_targets: list[str] = field(default_factory=list)
    baselines: bool = False
    paths: dict[str, str]
    model: dict[str, object] = field(default_factory=dict)
    core: Node
    tokenizer: Node | dict[str, Node] | None = None
    embedder: Node | dict[str, Node] | None = None
    data: Node | None = None
    task: Node | None = None
    optim: Node
    trainer: Node
    callbacks: dict[str, Node | None] | None = None
    logger: Node | dict[str, Node | None] | None = None
    members: dict[str, dict[str, object]] | None = None
    report: bool = False
