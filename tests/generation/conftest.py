"""Small models of every way to write, with samples of unequal length, and one slow pass that nothing is cached in."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from omniformer_tokenizers import Tokens
from torch import Tensor

from omniformer.batch import Batch, Sample, collate
from omniformer.core.block import CrossBlock
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Prefix, Rule, Sinks, Window
from omniformer.core.transformer import Transformer
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.recurrent import Recurrent
from omniformer.core.variants.recurrent_decoder import RecurrentDecoder
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer

VOCAB_SIZE, WIDTH = 7, 16


def text(*ids: int) -> Tokens:
    positions = torch.arange(len(ids))[:, None].float()
    return Tokens(values=torch.tensor(ids, dtype=torch.long), positions=positions, modality="text")


def frames(n: int, seed: int) -> Tokens:
    values = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return Tokens(values=values, positions=torch.arange(n)[:, None].float(), modality="audio")


def build(core: Any, rule: Rule, vocab_size: int = VOCAB_SIZE) -> OmniFormer:
    model = OmniFormer(
        core=core,
        embedders={
            "text": IdEmbedder(d_model=WIDTH, vocab_size=vocab_size),
            "audio": VectorEmbedder(d_model=WIDTH, features=3),
        },
        heads={"it": NextTokenHead(d_model=WIDTH, vocab_size=vocab_size, tied=False)},
        rules={"it": rule},
    )
    # Wide weights, so that what was read matters and no two scores are alike; drawn anew, whatever was drawn before.
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + (parameter.ndim == 1))
    return model.eval()


SIZES = {"d_model": WIDTH, "n_layers": 2, "n_heads": 2, "rotary": Rotary}
MODELS: dict[str, Callable[..., OmniFormer]] = {
    "one sequence": lambda **o: build(Transformer(**SIZES), Causal() | Prefix(), **o),
    "encoder and decoder": lambda **o: build(
        EncoderDecoder(encoder=Transformer(**SIZES), decoder=Transformer(**SIZES, block=CrossBlock)), Causal(), **o
    ),
    "recurrent encoder and decoder": lambda **o: build(
        EncoderDecoder(
            encoder=Recurrent(d_model=WIDTH, n_layers=1, cell="gru", bidirectional=True),
            decoder=RecurrentDecoder(d_model=WIDTH),
        ),
        Causal(),
        **o,
    ),
    "recurrent": lambda **o: build(Recurrent(d_model=WIDTH, n_layers=2, cell="lstm"), Causal(), **o),
    "linear attention": lambda **o: build(Transformer(**SIZES, attention=LinearAttention), Causal(), **o),
    "window": lambda **o: build(Transformer(**SIZES), Causal() & (Window(left=3) | Sinks(1)), **o),
}
SAMPLES = [
    Sample(id="a", pieces=[frames(3, 0), text(4, 5)], answer=[text(0, 2, 6)]),
    Sample(id="b", pieces=[], answer=[text(0)]),
    Sample(id="c", pieces=[text(3)], answer=[text(0, 1)]),
    Sample(id="d", pieces=[frames(5, 1)], answer=[text(0)]),
]


@pytest.fixture(params=MODELS)
def model(request) -> OmniFormer:
    """Each of the models in turn."""
    return MODELS[request.param]()


@pytest.fixture
def one_sequence() -> OmniFormer:
    """The model that reads what is given and what is written as one sequence."""
    return MODELS["one sequence"]()


@pytest.fixture
def window() -> OmniFormer:
    """A model that looks three tokens back, and at the first one."""
    return MODELS["window"]()


@pytest.fixture
def make() -> Callable[..., OmniFormer]:
    """Makes the model of a name."""
    return lambda name, **options: MODELS[name](**options)


@pytest.fixture
def batch() -> Batch:
    """Samples that are given sounds, words, both or nothing, and have begun to answer."""
    return collate(SAMPLES)


@pytest.fixture
def samples() -> list[Sample]:
    """The samples of `batch`."""
    return list(SAMPLES)


@pytest.fixture
def scores() -> Callable[[OmniFormer, Sample, Sequence[int]], Tensor]:
    """Log-probabilities of the next id of one sample after more ids, by one pass over everything."""
    return full_pass


@torch.no_grad()
def full_pass(model: OmniFormer, sample: Sample, ids: Sequence[int]) -> Tensor:
    begun = sample.answer[0].values.tolist()
    whole = Sample(id=sample.id, pieces=sample.pieces, answer=[text(*begun, *ids)])
    x, layout = model.decode(collate([whole]), "it")
    return model.heads["it"](x, layout)[-1].float().log_softmax(-1)


@pytest.fixture
def plain() -> Callable[..., Batch]:
    """A batch of prompts without anything given."""
    return lambda *prompts: collate(
        [Sample(id=str(i), pieces=[], answer=[text(*prompt)]) for i, prompt in enumerate(prompts)]
    )
