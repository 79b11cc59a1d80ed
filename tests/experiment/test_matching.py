import pytest
import torch
from omniformer_tokenizers import BPETokenizer, CharacterTokenizer, GraphTokenizer, PatchTokenizer
from task_cases import CASES

from omniformer.batch import collate
from omniformer.data.mixing import CutMix
from omniformer.data.module import OmniDataModule
from omniformer.data.source import Marks, Raw, Source
from omniformer.data.stream import Stream
from omniformer.experiment.matching import need_classes, need_embedders, need_targets
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.tasks import CausalLM, Classification

VECTORS, IDS = ({"_target_": f"omniformer.embedders.{name}"} for name in ("VectorEmbedder", "IdEmbedder"))


class Mine(Source):
    labels = ("a",)

    def __init__(self, **parts):
        self.parts = parts

    def split(self, name):
        return [Raw(id=str(i), contents={"text": "a cat"}, **self.parts) for i in range(3)]


class Unread(Mine):
    """One that must not be asked for its samples."""

    def split(self, name):
        raise AssertionError("data were touched")


def run_of(tokenizer, embedder, *, source=None, task="Classification"):
    data = OmniDataModule(
        streams={"mine": Stream(source=source or Unread())},
        tokenizers={"mine": {tokenizer.modality: tokenizer}},
        seed=0,
    )
    node = {"_target_": f"omniformer.tasks.{task}"}
    return {"name": "mine", "tokenizer": {"_": 0}, "embedder": embedder, "data": {"_": 0}, "task": node}, data


@pytest.mark.parametrize(
    ("tokenizer", "embedder", "message"),
    [
        (
            BPETokenizer(vocab_size=300),
            VECTORS,
            r"mine: .*text \(BPETokenizer\) gives vocab_size, axes, embedder Vec.* needs feat",
        ),
        (
            PatchTokenizer(),
            IDS,
            r"vision \(PatchTokenizer\) gives features, channels, axes, stride, embedder IdEmbedder needs vocab_size",
        ),
        (
            PatchTokenizer(),
            {"_target_": "omniformer.embedders.Maskable", "embedder": IDS},
            "embedder IdEmbedder needs vocab_size",
        ),
        (GraphTokenizer(), VECTORS, "VectorEmbedder needs features, a whole number: at least 1, and receives 0"),
        (PatchTokenizer(), {"text": IDS}, "mine.embedder: has none for vision, which PatchTokenizer reads; .* text"),
    ],
)
def test_an_embedder_that_does_not_fit_is_told_before_data_are_touched(tokenizer, embedder, message):
    config, data = run_of(tokenizer, embedder)
    with pytest.raises(ValueError, match=message):
        need_embedders(config, data, lambda modality: False)


@pytest.mark.parametrize(
    ("tokenizer", "embedder"),
    [
        (BPETokenizer(vocab_size=300), IDS),
        (PatchTokenizer(), VECTORS),
        (PatchTokenizer(), {"vision": VECTORS | {"features": 768}}),
        (CharacterTokenizer(), VECTORS),  # whose sizes nobody knows yet: the model will tell
    ],
)
def test_what_fits_passes_without_a_look_at_the_data(tokenizer, embedder):
    config, data = run_of(tokenizer, embedder)
    need_embedders(config, data, lambda modality: False)


def test_an_embedder_that_the_weights_bring_along_is_not_asked():
    config, data = run_of(PatchTokenizer(), IDS)
    need_embedders(config, data, lambda modality: modality == "vision")


@pytest.mark.parametrize("task", ["Classification", "TokenClassification", "MissingModalities"])
def test_a_task_says_itself_how_many_classes_it_needs(task):
    config, data = run_of(BPETokenizer(vocab_size=300), IDS, source=Mine(), task=task)
    with pytest.raises(
        ValueError, match="mine: Mine has one class, 'a', and mine.task tells classes apart; add a second"
    ):
        need_classes(config, data)


@pytest.mark.parametrize("task", ["MultiLabelClassification", "CausalLM"])
def test_one_question_or_none_is_enough_for_other_tasks(task):
    need_classes(*run_of(BPETokenizer(vocab_size=300), IDS, source=Mine(), task=task))


def checked(task, **parts) -> None:
    tokenizer = BPETokenizer(vocab_size=300).fit(["a cat"])
    need_targets({"mine": task}, run_of(tokenizer, IDS, source=Mine(**parts))[1])


CLASSES = Classification(head=ClassificationHead(d_model=8, n_classes=2), n_classes=2)
WORDS = CausalLM(head=NextTokenHead(d_model=8, vocab_size=300))


def test_nothing_to_predict_is_told():
    message = "mine: Classification learns from label, and samples of Mine have value; choose the task"
    with pytest.raises(ValueError, match=message):
        checked(CLASSES, targets={"value": torch.tensor(1.0)})
    with pytest.raises(ValueError, match="CTC learns from an answer, and samples of Mine have no targets"):
        checked(CASES["frames to text"].build()[1])
    checked(CLASSES, targets={"label": torch.tensor(0)})
    checked(WORDS)


def test_mixed_samples_for_a_task_that_cannot_take_them_are_refused():
    tokenizer = BPETokenizer(vocab_size=300).fit(["a cat"])
    data = run_of(tokenizer, IDS, source=Mine(targets={"label": torch.tensor(0)}))[1]
    data.streams["mine"].mix = CutMix()
    need_targets({"mine": CLASSES}, data)
    with pytest.raises(ValueError, match="mine: CausalLM does not learn from mixed samples, which have shares"):
        need_targets({"mine": WORDS}, data)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"targets": {"label": torch.tensor(0)}}, "label"),
        ({"marks": {"text": Marks(words=((0, 1, 0),))}}, "label of each token"),
        ({"marks": {"text": Marks(span=(0, 1))}}, "span"),
    ],
)
def test_targets_that_nobody_learns_from_are_told(parts, told, monkeypatch):
    said = []
    monkeypatch.setattr("omniformer.experiment.matching.rank_zero_info", said.append)
    checked(WORDS, **parts)
    (line,) = said
    assert line.startswith(f"mine: samples of Mine have {told}, which CausalLM does not learn from; choose another")
    checked(CLASSES, targets={"label": torch.tensor(0)})
    assert len(said) == 1


@pytest.mark.parametrize("name", CASES)
def test_a_task_says_what_it_learns_from(name):
    model, task = CASES[name].build()
    whole = collate(CASES[name].samples[0])
    assert {*task.targets} <= {*whole.targets} and {*task.token_targets} <= {*whole.token_targets}
    assert whole.answer is not None or not task.needs_answer
    for field, names in (("targets", task.targets), ("token_targets", task.token_targets)):
        for each in names:
            kept = {key: value for key, value in getattr(whole, field).items() if key != each}
            with pytest.raises(ValueError, match=f"target {each!r}"):
                task.step(model, _with(whole, field, kept), "it")
    others = _with(
        _with(whole, "targets", {k: whole.targets[k] for k in task.targets}),
        "token_targets",
        {k: whole.token_targets[k] for k in task.token_targets},
    )
    assert task.step(model.train(), others, "it").count == task.count(whole)


def _with(batch, field, value):
    from dataclasses import replace

    return replace(batch, **{field: value})
