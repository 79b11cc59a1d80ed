"""Small models that are served."""

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, GraphTokenizer, PatchTokenizer, SpectrogramTokenizer

import omniformer
from omniformer.predictor import Member, Predictor
from omniformer.recipe import build_model
from omniformer.serving.limits import Limits
from omniformer.serving.service import Service

TEXT, PATCHES, NODES = ByteTokenizer(), PatchTokenizer(patch_size=4, channels=1), GraphTokenizer()
MELS = SpectrogramTokenizer(sample_rate=8000, n_mels=16)
LABELS = ("ant", "bee", "cat")


D, IDS = {"d_model": 16}, {"d_model": 16, "vocab_size": 257}
CLASSES = {"node": {"_target_": "omniformer.heads.ClassificationHead"}, "facts": {**D, "n_classes": 3}}
RECIPE = {
    "core": {"_target_": "omniformer.core.transformer.Transformer", **D, "n_layers": 1, "n_heads": 2, "init_std": 0.5},
    "embedders": {
        "vision": {"node": {"_target_": "omniformer.embedders.VectorEmbedder"}, "facts": {**D, **PATCHES.facts}},
        "audio": {"node": {"_target_": "omniformer.embedders.VectorEmbedder"}, "facts": {**D, **MELS.facts}},
        "graph": {
            "node": {"_target_": "omniformer.embedders.NodeEmbedder"},
            "facts": {**D, "vocab_sizes": [1], "max_degree": 63},
        },
        "text": {"node": {"_target_": "omniformer.embedders.IdEmbedder"}, "facts": IDS},
    },
    "heads": {
        "animals": CLASSES,
        "sounds": CLASSES,
        "rings": CLASSES,
        "prose": {"node": {"_target_": "omniformer.heads.NextTokenHead"}, "facts": IDS},
    },
    "rules": {
        "animals": {"_target_": "omniformer.core.rules.Full"},
        "sounds": {"_target_": "omniformer.core.rules.Full"},
        "rings": {"_target_": "omniformer.core.rules.Full"},
        "prose": {"_target_": "omniformer.core.rules.Causal"},
    },
}


def make_predictor() -> Predictor:
    """A model that tells pictures, sounds and graphs apart, and goes on from texts."""
    torch.manual_seed(0)
    model = build_model(RECIPE)
    heads = [model.heads[name].classes for name in ("animals", "sounds", "rings")]
    for part in (*heads, *model.embedders.values()):
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter)
    members = {
        "animals": Member(tokenizers={"vision": PATCHES}, labels=LABELS),
        "sounds": Member(tokenizers={"audio": MELS}, labels=LABELS),
        "rings": Member(tokenizers={"graph": NODES}, labels=LABELS),
        "prose": Member(tokenizers={"text": TEXT}, max_seq_len=64),
    }
    return Predictor(model, members)


@pytest.fixture(scope="session")
def folder(tmp_path_factory, predictor):
    """The folder of that model."""
    made = tmp_path_factory.mktemp("served") / "zoo"
    omniformer.save(made, predictor, recipe=RECIPE)
    return made


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
