"""What the tests of exporting share: tiny models whose every weight matters."""

from functools import partial

import torch

from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer

CORE = partial(Transformer, d_model=16, n_layers=2, n_heads=4)


def shaken(model):
    """The model with weights far from their gentle start."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


def reader(*, core=None, head=None, rule=None, position=None, **options):
    """A model of text with one task."""
    head = NextTokenHead(d_model=16, vocab_size=20, tied=False) if head is None else head
    embedder = IdEmbedder(d_model=16, vocab_size=20, position=position, **options)
    rules = {} if rule is None else {"it": rule}
    return shaken(OmniFormer(core=core or CORE(), embedders={"text": embedder}, heads={"it": head}, rules=rules))


def agrees(program, run=None):
    """Whether a program, or a file of it, says what the packed model says on every trial."""
    run = run or program
    with torch.no_grad():
        return max(trial(lambda tensors: run(*tensors)) for trial in program.trials()) < 1e-5
