"""What a published classifier's labels mean, for families that build the rest of it otherwise."""

import pytest

from omniformer import pretrained

BART = {"model_type": "bart", "architectures": ["BartForSequenceClassification"]}
BERT = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"], "vocab_size": 30}
UNNAMED = [(BART, 3), (BERT, 2), (LLAMA, 2)]
HEADS = {
    "single_label_classification": ("ClassificationHead", "n_classes"),
    "multi_label_classification": ("MultiLabelHead", "n_classes"),
    "regression": ("RegressionHead", "n_outputs"),
}


def head(config):
    return pretrained.family_of(config).recipe["heads"]["classification"]["node"]


@pytest.mark.parametrize(("config", "unnamed"), UNNAMED)
def test_labels_are_the_files_or_made_up_as_many_as_the_reference_leaves_out(config, unnamed):
    assert pretrained.family_of(config).labels == tuple(f"LABEL_{i}" for i in range(unnamed))
    assert pretrained.family_of(config | {"num_labels": 5}).labels == tuple(f"LABEL_{i}" for i in range(5))
    named = {"id2label": {"10": "last", "0": "first", "9": "ninth"}, "num_labels": 5}
    assert pretrained.family_of(config | named).labels == ("first", "ninth", "last")


@pytest.mark.parametrize("problem", HEADS)
@pytest.mark.parametrize("config", [BART, BERT, LLAMA])
def test_the_problem_says_which_head_it_is_and_whether_labels_are_classes(config, problem):
    config = config | {"num_labels": 4, "problem_type": problem}
    kind, size = HEADS[problem]
    built = head(config)
    assert (built["_target_"], built[size]) == (f"omniformer.heads.{kind}", 4)
    assert bool(pretrained.family_of(config).labels) == (problem != "regression")


@pytest.mark.parametrize("config", [BART, BERT, LLAMA])
def test_one_label_without_a_problem_is_a_number_and_an_unknown_problem_is_refused(config):
    assert head(config | {"num_labels": 1})["_target_"] == "omniformer.heads.RegressionHead"
    with pytest.raises(ValueError, match="problem_type='ranking'; accepted: None, 'single_label_classification'"):
        head(config | {"problem_type": "ranking"})


def test_a_file_of_no_label_is_not_given_two():
    assert head(LLAMA | {"num_labels": 0})["n_classes"] == 0
