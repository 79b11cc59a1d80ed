"""A head of one's own: one file, in no package of ours."""

from pathlib import Path

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, PatchTokenizer, Tokens
from own import importable

import omniformer
from omniformer import heads
from omniformer.batch import Sample, collate
from omniformer.config import allowing
from omniformer.core.layout import Layout
from omniformer.generation import Greedy, Writer
from omniformer.heads import Head
from omniformer.inspection.report import numbers
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor
from omniformer.recipe import build_model

ADDING = Path(__file__).parents[1] / "support" / "adding"
TEXT, VISION = ByteTokenizer(), PatchTokenizer(patch_size=4, channels=1)
OWN = '''
import torch
from torch import nn

from omniformer.heads import Head, MeanPool


class Mixture(Head):
    """Ids by a mixture of two softmaxes (Yang et al. 2017)."""

    per_token = True
    makes = "ids"

    def __init__(self, *, d_model, vocab_size, modality="text"):
        super().__init__()
        self.modality = modality
        self.share_of_one, self.one, self.other = (nn.Linear(d_model, n) for n in (1, vocab_size, vocab_size))

    @property
    def instead(self):
        return "writes"

    def forward(self, x, layout):
        share = self.share_of_one(x).sigmoid()
        return (share * self.one(x).softmax(-1) + (1 - share) * self.other(x).softmax(-1)).log()

    def predict(self, outputs):
        return outputs.exp()


class Meeting(Head):
    """A space for two modalities: the first features of each, without a map."""

    compares = True
    instead = "compares"
    modalities = ("vision", "text")
    d_embedding = 4

    def __init__(self, *, d_model):
        super().__init__()
        self.pool = MeanPool(d_model=d_model)

    def embed(self, x, layout, modality):
        return nn.functional.normalize(self.pool(x, layout)[:, :4], dim=-1)

    def forward(self, x, layout):
        return self.embed(x, layout, "text")

    def predict(self, outputs):
        return outputs
'''
CORE = {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2}
IDS = {"node": {"_target_": "omniformer.embedders.IdEmbedder"}, "facts": {"d_model": 16, "vocab_size": 257}}
PATCHES = {"_target_": "omniformer.embedders.VectorEmbedder", "features": 16, "axes": 2}


def recipe(**heads):
    return {
        "core": CORE,
        "embedders": {"vision": {"node": PATCHES, "facts": {"d_model": 16}}, "text": IDS},
        "heads": {
            name: {"node": {"_target_": kind}, "facts": {"d_model": 16, **facts}}
            for name, (kind, facts) in heads.items()
        },
        "rules": {"prose": {"_target_": "omniformer.core.rules.Causal"}} if "prose" in heads else {},
    }


@pytest.fixture(autouse=True)
def own_heads(tmp_path):
    """A package of a user's own, importable as `own_heads`, beside the head that CONTRIBUTING.md counts."""
    folder = tmp_path / "own" / "own_heads"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(OWN)
    with importable(folder.parent), importable(ADDING / "head"):
        yield


def predictor_of(made, **members):
    torch.manual_seed(0)
    with allowing(["own_head", "own_heads"]):
        model = build_model(made)
    return Predictor(model, members)


def picture(seed):
    return torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_the_cost_of_a_head_is_that_of_its_maps_for_each_sample_or_token():
    parts = {
        "grades": {"_target_": "own_head.Grades", "n_classes": 3},
        "prose": {"_target_": "own_heads.Mixture", "vocab_size": 20},
    }
    config = {"core": CORE, "rule": {"_target_": "omniformer.core.rules.Full"}, "seq_len": 5, "batch_size": 2}
    with allowing(["own_head", "own_heads"]):
        bare, whole = (numbers({**config, "dtype": "float32", "parts": each}) for each in ({}, parts))
    assert whole["flops"] - bare["flops"] == 2 * 2 * 16 + 2 * 10 * 16 * (1 + 20 + 20)
    assert whole["parameters/grades"] == 16 + 1 + 2


def test_a_head_that_makes_ids_writes(tmp_path):
    made = recipe(prose=("own_heads.Mixture", {"vocab_size": 257}))
    predictor = predictor_of(made, prose=Member(tokenizers={"text": TEXT}))
    assert isinstance(predictor.writer(), Writer)
    ((answer,),) = predictor.generate(["once"], strategy=Greedy(), max_new_tokens=4)
    model = predictor.model
    ids = [TEXT.start, *b"once"]
    for written in answer.ids:
        x, layout = model.encode(collate([_sample(ids)]), "prose")
        assert written == int(model.head("prose")(x[-1:], layout).argmax())
        ids.append(written)
    with pytest.raises(ValueError, match="'prose' writes"):
        predictor.predict(["once"])
    omniformer.save(tmp_path / "model", predictor, recipe=made, allow_targets=["own_heads"])
    again = omniformer.load(tmp_path / "model", allow_targets=["own_heads"])
    assert again.generate(["once"], strategy=Greedy(), max_new_tokens=4)[0][0].ids == answer.ids


def _sample(ids):
    positions = torch.arange(len(ids), dtype=torch.float32)[:, None]
    tokens = Tokens(values=torch.tensor(ids), positions=positions, modality="text")
    return Sample(id="it", pieces=[tokens])


def test_a_head_that_compares_is_the_space_of_embeddings():
    predictor = predictor_of(
        recipe(pairs=("own_heads.Meeting", {})), pairs=Member(tokenizers={"vision": VISION, "text": TEXT})
    )
    assert predictor.similarity(picture(0), ["seven", "eight"]).shape == (1, 2)
    assert predictor.embed(["seven"]).shape == (1, 4)
    with pytest.raises(ValueError, match="'pairs' compares"):
        predictor.predict(["seven"])


@pytest.mark.parametrize("name", [name for name in vars(heads) if name.endswith("Head")])
def test_what_our_heads_say_of_themselves_fits(name):
    head = getattr(heads, name)
    assert head.makes in (None, "ids", "pictures", "transcripts")
    assert head.answers == "rows" or head.per_token
    assert bool(head.instead) == (
        head.makes in ("ids", "pictures") or head.compares or head.embeds or head.output == "vectors"
    )
    assert not (head.tells_classes and (head.makes or head.compares))


def test_published_names_are_those_of_raw_outputs():
    x, layout = torch.randn(5, 4), Layout.from_lengths(2, 3)
    named = {
        "logits": heads.ClassificationHead(d_model=4, n_classes=2),
        "pooler_output": heads.VectorHead(d_model=4),
    }
    for word, head in named.items():
        (said,) = head.published(x, layout).items()
        assert said[0] == word
        torch.testing.assert_close(said[1], head(x, layout))
    spans = heads.SpanHead(d_model=4)
    torch.nn.init.normal_(spans.ends.weight)
    ends = spans.published(x, layout)
    torch.testing.assert_close(torch.stack([ends["start_logits"], ends["end_logits"]], -1), spans(x, layout))
    assert heads.FeatureHead().published(x, layout) == {}
    two = heads.DistilledHead(d_model=4, n_classes=3)
    torch.nn.init.normal_(two.distilled.weight)
    both = two.published(x, layout)
    torch.testing.assert_close(both["logits"], two(x, layout))
    torch.testing.assert_close((both["cls_logits"] + both["distillation_logits"]) / 2, two(x, layout))


def test_a_module_that_is_no_head_is_told():
    with pytest.raises(ValueError, match="head 'it' is a Linear; a head is a subclass of omniformer.heads.Head with"):
        OmniFormer(core=torch.nn.Identity(), embedders={}, heads={"it": torch.nn.Linear(2, 2)})


def test_a_head_is_found_by_name_or_the_others_are_named():
    predictor = predictor_of(recipe(grades=("own_head.Grades", {"n_classes": 3})))
    assert isinstance(predictor.model.head("grades"), Head)
    with pytest.raises(ValueError, match="no head named 'prose'; this model has grades"):
        predictor.model.head("prose")
