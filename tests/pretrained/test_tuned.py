"""Which kind of a family a trained model is written back as."""

import pytest
import torch
from tiny_published import bert
from twins import transformers

from omniformer import pretrained
from omniformer.heads import ClassificationHead, DenseFirstToken, MultiLabelHead, NextTokenHead, RegressionHead
from omniformer.model import OmniFormer
from omniformer.predictor import Member
from omniformer.pretrained import Tuned

IDS = torch.randint(5, 100, (2, 7), generator=torch.Generator().manual_seed(0))


def with_head(model, head, labels=()):
    """The published model with another head."""
    whole = OmniFormer(core=model.model.core, embedders=dict(model.model.embedders), heads={"mine": head})
    return Tuned(whole, {"mine": Member(tokenizers={}, labels=labels)}, family=model.family, recipe={})


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    return pretrained.load(bert(tmp_path_factory.mktemp("bert")))


@pytest.mark.parametrize(
    ("head", "labels", "kind"),
    [
        (RegressionHead(d_model=24, n_outputs=1, pool=DenseFirstToken), (), "regression"),
        (MultiLabelHead(d_model=24, n_classes=3, pool=DenseFirstToken), tuple("abc"), "multi_label_classification"),
        (ClassificationHead(d_model=24, n_classes=3, pool=DenseFirstToken), tuple("abc"), None),
    ],
    ids=["a number", "several labels", "one of several classes"],
)
def test_heads_of_each_problem_become_the_familys_classifier(masked, head, labels, kind, tmp_path):
    torch.manual_seed(0)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tuned = with_head(masked, head, labels)
    tuned.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert theirs.config.problem_type == kind and theirs.config.num_labels == (len(labels) or 1)
    assert tuple(theirs.config.id2label.values()) == (labels or ("LABEL_0",))
    found = pretrained.as_reference(tuned.as_published())(input_ids=IDS).logits
    torch.testing.assert_close(found, theirs(input_ids=IDS).logits, rtol=1.3e-6, atol=1e-5)


def test_one_head_of_two_is_written_as_the_kind_that_has_it_alone(tmp_path):
    model = pretrained.load(bert(tmp_path / "theirs", kind="BertForPreTraining"))
    tuned = with_head(model, model.model.heads["masked_lm"])
    assert tuned.as_published().family.architecture == "BertForMaskedLM"
    assert tuned.as_published().model.heads["masked_lm"] is model.model.heads["masked_lm"]


def test_a_head_of_another_shape_has_no_place(masked):
    plain = NextTokenHead(d_model=24, vocab_size=pretrained.vocabulary_size(masked))
    with pytest.raises(ValueError, match=r"no BERT has the heads of this run \(NextTokenHead\)"):
        with_head(masked, plain).as_published()
