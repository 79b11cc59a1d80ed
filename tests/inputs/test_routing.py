"""Which task of a model an input is for."""

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, PatchTokenizer

from omniformer.core.rules import Causal, Full
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.heads import ClassificationHead, ContrastiveHead, CTCHead, NextTokenHead
from omniformer.inputs.member import Member
from omniformer.inputs.routing import only, route
from omniformer.model import OmniFormer

TEXT, VISION = ByteTokenizer(), PatchTokenizer(patch_size=4, channels=1)
IDS = {"d_model": 16, "vocab_size": 257}
HEADS = {
    "mood": ClassificationHead(d_model=16, n_classes=2),
    "pairs": ContrastiveHead(d_model=16, modalities=["vision", "text"]),
    "frames": CTCHead(**IDS),
    "holes": NextTokenHead(**IDS),
    "prose": NextTokenHead(**IDS),
}


def routed(raw, **members):
    """The task among these, each with what it takes."""
    model = OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2),
        embedders={"text": IdEmbedder(**IDS), "vision": VectorEmbedder(d_model=16, features=16, axes=2)},
        heads={name: HEADS[name] for name in members},
        rules={name: Full() if name == "holes" else Causal() for name in members},
    )
    return route(model, {name: Member(tokenizers=each) for name, each in members.items()}, raw)


TEXTS, BOTH = {"text": TEXT}, {"vision": VISION, "text": TEXT}


@pytest.mark.parametrize("first", ["mood", "pairs", "frames"])
def test_a_task_that_predicts_or_compares_comes_before_one_for_holes_and_this_before_one_that_writes(first):
    assert routed("a text", **{first: TEXTS, "holes": TEXTS, "prose": TEXTS}) == first
    assert routed("a text", holes=TEXTS, prose=TEXTS) == "holes"
    assert routed("a text", prose=TEXTS) == "prose"


def test_parts_of_several_modalities_go_to_the_task_that_takes_them_all():
    picture = torch.zeros(1, 8, 8)
    assert routed([picture, "what?"], mood=TEXTS, pairs=BOTH) == "pairs"
    with pytest.raises(ValueError, match="input looks like vision; this model takes text"):
        routed(picture, mood=TEXTS)
    with pytest.raises(ValueError, match=r"several tasks take it: \['mood', 'pairs'\]; choose one with member="):
        routed("a text", mood=TEXTS, pairs=BOTH)


def test_who_is_able_is_found_or_asked_for():
    members = {name: Member(tokenizers={}) for name in ("mood", "prose", "verse")}
    assert only(["prose", "verse"], members, "verse", "writes nothing", "one") == "verse"
    with pytest.raises(ValueError, match="this model writes nothing, it has only mood, prose, verse; train one"):
        only([], members, None, "writes nothing", "one")
    with pytest.raises(ValueError, match="several tasks could answer: prose, verse; choose one with member="):
        only(["prose", "verse"], members, None, "writes nothing", "one")
    with pytest.raises(ValueError, match="member='mood' is no task of this kind in this model; choose one of prose"):
        only(["prose"], members, "mood", "writes nothing", "one")
