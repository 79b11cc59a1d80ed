"""One case of every task: a head, a ragged split, and samples that have no answered target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from omniformer_tokenizers import CharacterTokenizer, Tokens, framed
from rings import rings

from omniformer.batch import Sample
from omniformer.core.connection import AdaptiveNorm
from omniformer.core.norm import LayerNorm
from omniformer.core.rules import Causal, Full, Prefix
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, NodeEmbedder, VectorEmbedder
from omniformer.embedders.maskable import Maskable
from omniformer.heads import (
    ClassificationHead,
    ContrastiveHead,
    CTCHead,
    LinkHead,
    MultiLabelHead,
    MultiTokenHead,
    NextTokenHead,
    ReconstructionHead,
    RegressionHead,
    SpanHead,
    TokenClassificationHead,
)
from omniformer.heads.denoising import DenoisingHead
from omniformer.heads.noise import Cosine
from omniformer.model import OmniFormer
from omniformer.tasks import (
    CTC,
    Autoregression,
    CausalLM,
    Classification,
    ConditionalGeneration,
    ConsistentTokenClassification,
    Contrastive,
    Diffusion,
    LinkPrediction,
    MaskedIds,
    MaskedVectors,
    MissingModalities,
    MultiLabelClassification,
    MultiTokenPrediction,
    OpenSetClassification,
    Regression,
    SpanPrediction,
    TokenClassification,
)
from omniformer.tasks.task import Task

TEXT = CharacterTokenizer().fit(["abcdefgh"])
SIZES = {"d_model": 16, "n_layers": 1, "n_heads": 2}
NAN = float("nan")


def text(words: str) -> Tokens:
    return TEXT(words)


def sound(n: int, seed: int = 0) -> Tokens:
    values = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return Tokens(values=values, positions=torch.arange(n)[:, None].float(), modality="audio")


def hidden(sample: str, piece: Tokens, mask: Sequence[bool], wanted: str) -> Sample:
    masked = torch.tensor(mask)
    shown = Tokens(values=piece.values, positions=piece.positions, modality=piece.modality, features={"masked": masked})
    return Sample(id=sample, pieces=[shown], token_targets={"mask": masked, wanted: piece.values})


def sounds(unanswered: dict, **targets) -> tuple[list[Sample], list[Sample]]:
    """Four sounds of several lengths with the given targets, and one with those that nobody has answered."""
    answered = [
        Sample(id=f"s{i}", pieces=[sound(n, i)], targets={k: torch.tensor(v[i]) for k, v in targets.items()})
        for i, n in enumerate((2, 3, 1, 4))
    ]
    without = [Sample(id="u", pieces=[sound(2)], targets={k: torch.tensor(v) for k, v in unanswered.items()})]
    return answered, without if unanswered else []


def labelled_tokens() -> tuple[list[Sample], list[Sample]]:
    def sample(name: str, labels: Sequence[int], mask: Sequence[bool]) -> Sample:
        wanted = {"label": torch.tensor(labels), "mask": torch.tensor(mask)}
        return Sample(id=name, pieces=[sound(len(labels), len(labels))], token_targets=wanted)

    rows = [([0, 1], [True, False]), ([2, 2, 1], [True] * 3), ([0], [False]), ([1, 0, 2, 1], [False, True, True, True])]
    return [sample(f"s{i}", *row) for i, row in enumerate(rows)], [sample("u", [1, 2], [False, False])]


def written(said: Sequence[str], given: Sequence[str | int]) -> list[Sample]:
    pieces = [[text(each)] if isinstance(each, str) else [sound(each, i)] * bool(each) for i, each in enumerate(given)]
    answers = [framed(text(each), start=TEXT.start, stop=TEXT.stop) for each in said]
    return [
        Sample(id=f"s{i}", pieces=piece, answer=[answer])
        for i, (piece, answer) in enumerate(zip(pieces, answers, strict=True))
    ]


def painted(*sizes: int) -> list[Sample]:
    return [Sample(id=f"s{i}", pieces=[], answer=[sound(n, i)]) for i, n in enumerate(sizes)]


def masked_words() -> tuple[list[Sample], list[Sample]]:
    rows = [("ab", [True, False]), ("abc", [True, True, True]), ("d", [False]), ("efgh", [False, True, False, False])]
    return [hidden(f"s{i}", text(words), mask, "ids") for i, (words, mask) in enumerate(rows)], [
        hidden("u", text("ab"), [False, False], "ids")
    ]


def masked_sounds() -> tuple[list[Sample], list[Sample]]:
    rows = [[True, False], [True, True, True], [False], [False, True, False, False]]
    return [hidden(f"s{i}", sound(len(mask), i), mask, "values") for i, mask in enumerate(rows)], [
        hidden("u", sound(2), [False, False], "values")
    ]


def pairs(*having: str) -> list[Sample]:
    names = {"t": lambda i: text("abcdefgh"[i : i + 2]), "a": lambda i: sound(1 + i % 3, i)}
    return [Sample(id=f"s{i}", pieces=[names[letter](i) for letter in each]) for i, each in enumerate(having)]


@dataclass(frozen=True)
class Case:
    """A task, the samples of a ragged split, and samples that have no answered target."""

    head: Callable[[], torch.nn.Module]
    task: Callable[..., Task]
    samples: tuple[list[Sample], list[Sample]]
    core: Callable[..., torch.nn.Module] = Transformer
    maskable: bool = False
    reads_answer: bool = True

    def build(self) -> tuple[OmniFormer, Task]:
        torch.manual_seed(0)
        embedders = {
            "text": IdEmbedder(d_model=16, vocab_size=TEXT.vocab_size),
            "audio": VectorEmbedder(d_model=16, features=3),
        }
        if self.maskable:
            embedders = {name: Maskable(d_model=16, embedder=each) for name, each in embedders.items()}
        embedders |= {"graph": NodeEmbedder(d_model=16, vocab_sizes=[20])}
        there = {name for many in self.samples for sample in many for name in self.read(sample)}
        model = OmniFormer(
            core=self.core(**SIZES),
            embedders={name: each for name, each in embedders.items() if name in there},
            heads={"it": self.head()},
        )
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        task = self.task(head=model.heads["it"])
        model.rules["it"] = task.rule
        return model, task

    def read(self, sample: Sample) -> list[str]:
        """The modalities of a sample that the core reads."""
        answer = sample.answer if self.reads_answer else ()
        return [piece.modality for piece in (*sample.pieces, *answer)]


TOKENIZERS = {"text": TEXT}
READ = Causal() | Prefix()
classes = partial(ClassificationHead, d_model=16, n_classes=3)
of_tokens = partial(TokenClassificationHead, d_model=16, n_classes=3)
next_id = partial(NextTokenHead, d_model=16, vocab_size=TEXT.vocab_size)
LABELS = {"label": [0, 2, 1, 2]}
denoiser = partial(
    Transformer,
    norm=partial(LayerNorm, gain=False),
    connection=partial(AdaptiveNorm, d_condition=8),
)
CASES = {
    "classification": Case(classes, partial(Classification, n_classes=3, label_smoothing=0.1), sounds({}, **LABELS)),
    "weighted classes": Case(
        classes,
        partial(Classification, n_classes=3, label_smoothing=0.1, class_weights=[0.3, 2.5, 0.9]),
        sounds({}, **LABELS),
    ),
    "open set": Case(
        classes,
        partial(
            OpenSetClassification, n_classes=3, labels=("a", "b", "none"), out_of_scope="none", label_smoothing=0.1
        ),
        sounds({}, **LABELS),
    ),
    "missing modalities": Case(
        classes,
        partial(MissingModalities, n_classes=3, tokenizers={"audio": TEXT, "text": TEXT}, label_smoothing=0.1),
        sounds({}, **LABELS),
    ),
    "tokens": Case(of_tokens, partial(TokenClassification, n_classes=3, label_smoothing=0.1), labelled_tokens()),
    "weighted tokens": Case(
        of_tokens, partial(TokenClassification, n_classes=3, class_weights=[0.3, 2.5, 0.9]), labelled_tokens()
    ),
    "consistent tokens": Case(
        of_tokens, partial(ConsistentTokenClassification, n_classes=3, consistency=0.0), labelled_tokens()
    ),
    "multi-label": Case(
        partial(MultiLabelHead, d_model=16, n_classes=2),
        partial(MultiLabelClassification, n_classes=2),
        sounds({"labels": [NAN, NAN]}, labels=[[1.0, NAN], [0.0, 1.0], [NAN, 0.0], [1.0, 1.0]]),
    ),
    "weighted questions": Case(
        partial(MultiLabelHead, d_model=16, n_classes=2),
        partial(MultiLabelClassification, n_classes=2, pos_weight=[0.3, 2.5]),
        sounds({"labels": [NAN, NAN]}, labels=[[1.0, NAN], [0.0, 1.0], [NAN, 0.0], [1.0, 1.0]]),
    ),
    "regression": Case(
        partial(RegressionHead, d_model=16, n_outputs=2, target_mean=[5.0, 1e6], target_std=[2.0, 100.0]),
        Regression,
        sounds({"value": [NAN, NAN]}, value=[[1.0, NAN], [4.0, 1e6], [NAN, 2e6], [7.0, 1e5]]),
    ),
    "causal": Case(
        next_id,
        CausalLM,
        (
            [Sample(id=f"s{i}", pieces=[text(each)]) for i, each in enumerate(("ab", "a", "abcd", "hgf"))],
            [Sample(id="u", pieces=[text("a")])],
        ),
    ),
    "causal, several at once": Case(
        partial(MultiTokenHead, d_model=16, vocab_size=TEXT.vocab_size, tied=False, n_further=2),
        MultiTokenPrediction,
        (
            [Sample(id=f"s{i}", pieces=[text(each)]) for i, each in enumerate(("ab", "a", "abcd", "hgf"))],
            [Sample(id="u", pieces=[text("a")])],
        ),
    ),
    "values in order": Case(
        next_id,
        partial(Autoregression, rule=READ),
        (written(["ab", "c", "defg", "h"], ["a", "bc", "", "d"]), [Sample(id="u", pieces=[], answer=[text("a")])]),
    ),
    "writing": Case(
        next_id,
        partial(ConditionalGeneration, tokenizers=TOKENIZERS, rule=READ, max_new_tokens=2, label_smoothing=0.1),
        (written(["ab", "c", "defg", "h"], ["a", "bc", "", "d"]), [Sample(id="u", pieces=[], answer=[text("a")])]),
    ),
    "frames to text": Case(
        partial(CTCHead, d_model=16, vocab_size=TEXT.vocab_size),
        partial(CTC, tokenizers=TOKENIZERS),
        (written(["ab", "c", "", "de"], [4, 2, 3, 0]), []),
        reads_answer=False,
    ),
    "masked ids": Case(next_id, MaskedIds, masked_words(), maskable=True),
    "masked vectors": Case(
        partial(ReconstructionHead, d_model=16, features=3), MaskedVectors, masked_sounds(), maskable=True
    ),
    "links": Case(
        partial(LinkHead, d_model=16, d_link=8), LinkPrediction, (rings(7, 5, 2, 9), rings(2)), reads_answer=False
    ),
    "spans": Case(
        partial(SpanHead, d_model=16),
        SpanPrediction,
        sounds({"span": [-1, -1]}, span=[[0, 1], [1, 1], [-1, -1], [0, 3]]),
    ),
    "contrastive": Case(
        partial(ContrastiveHead, d_model=16, modalities=["audio", "text"], d_embedding=8),
        Contrastive,
        (pairs("at", "ta", "a", "at", "at"), pairs("a", "t")),
    ),
    "contrastive, sigmoid": Case(
        partial(ContrastiveHead, d_model=16, modalities=["audio", "text"], d_embedding=8, bias=-10.0, temperature=0.1),
        partial(Contrastive, loss="sigmoid"),
        (pairs("at", "ta", "a", "at", "at"), pairs("a", "t")),
    ),
    "diffusion": Case(
        partial(DenoisingHead, d_model=16, features=3, d_condition=8, schedule=Cosine(n_steps=20)),
        partial(Diffusion, drop_text=0.0, rule=Full()),
        (painted(2, 3, 1, 4), painted(0)),
        core=denoiser,
    ),
}
