"""Small models that are served."""

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, GraphTokenizer, PatchTokenizer

from omniformer.core import Transformer
from omniformer.core.rules import Causal, Full
from omniformer.embedders import IdEmbedder, NodeEmbedder, VectorEmbedder
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor
from omniformer.serving.limits import Limits
from omniformer.serving.service import Service

TEXT, PATCHES, NODES = ByteTokenizer(), PatchTokenizer(patch_size=4, channels=1), GraphTokenizer()
LABELS = ("ant", "bee", "cat")


def make_predictor() -> Predictor:
    """A model that tells pictures, pictures with texts, and graphs apart, and goes on from texts."""
    torch.manual_seed(0)
    d = {"d_model": 16}
    ids = {**d, "vocab_size": 257}
    heads = {
        "animals": ClassificationHead(**d, n_classes=3),
        "rings": ClassificationHead(**d, n_classes=3),
        "prose": NextTokenHead(**ids),
    }
    model = OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2, init_std=0.5),
        embedders={
            "vision": VectorEmbedder(**d, **PATCHES.facts),
            "graph": NodeEmbedder(**d, vocab_sizes=[1], max_degree=63),
            "text": IdEmbedder(**ids),
        },
        heads=heads,
        rules={"animals": Full(), "rings": Full(), "prose": Causal()},
    )
    for name in ("animals", "rings"):
        torch.nn.init.normal_(heads[name].classes.weight)
    for embedder in model.embedders.values():
        for parameter in embedder.parameters():
            torch.nn.init.normal_(parameter)
    members = {
        "animals": Member(tokenizers={"vision": PATCHES}, labels=LABELS),
        "rings": Member(tokenizers={"graph": NODES}, labels=LABELS),
        "prose": Member(tokenizers={"text": TEXT}, max_seq_len=64),
    }
    return Predictor(model, members)


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return make_predictor()


@pytest.fixture
def serving(predictor):
    """Makes services, and ends them."""
    made = []

    def serve(other=None, **limits):
        made.append(Service(other or predictor, name="zoo", limits=Limits(**{"window": 0.0, **limits})))
        return made[-1]

    yield serve
    for service in made:
        assert service.engine.close(30)
