"""lm-evaluation-harness over our models: what it is told is what its own models say of the same folder."""

import json

import pytest
from tiny_published import gpt2

pytest.importorskip("lm_eval")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PAIRS = [("the big cat", " is here."), ("", "the dog"), ("the red cat is ", "gone. the dog"), ("the " * 70, "cat")]
TEXTS = ["the big cat is here.", "the red dog is gone. " * 40, "a"]


def asked(kind, *arguments):
    from lm_eval.api.instance import Instance

    return [Instance(request_type=kind, doc={}, arguments=each, idx=i) for i, each in enumerate(arguments)]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Our model and the harness's own, of one folder."""
    from lm_eval.models.huggingface import HFLM

    from omniformer.harness import harness_model

    folder = gpt2(tmp_path_factory.mktemp("gpt2"))
    made = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(made))
    theirs = HFLM(pretrained=str(folder), device="cpu", batch_size=2, dtype="float32")
    given = {"batch_size": 3, "max_batch_size": None, "device": "cpu"}  # as its command line does
    return harness_model().create_from_arg_obj({"pretrained": str(folder)}, given), theirs


def test_continuations_are_as_probable_as_to_the_reference(both):
    (ours, theirs) = (each.loglikelihood(asked("loglikelihood", *PAIRS), disable_tqdm=True) for each in both)
    assert [score for score, _ in ours] == pytest.approx([score for score, _ in theirs], abs=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


def test_whole_texts_are_as_probable_in_stretches_that_fit(both):
    requests = asked("loglikelihood_rolling", *((text,) for text in TEXTS))
    ours, theirs = (each.loglikelihood_rolling(requests, disable_tqdm=True) for each in both)
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_what_is_written_ends_where_the_reference_ends(both):
    plain = {"until": ["zzz"], "max_gen_toks": 8, "do_sample": False}
    ours, theirs = (each.generate_until(asked("generate_until", (TEXTS[0], plain)), disable_tqdm=True) for each in both)
    stop = {"until": [theirs[0][3:5]], "max_gen_toks": 8, "do_sample": False}
    requests = asked("generate_until", (TEXTS[0], plain), (TEXTS[2], stop), (TEXTS[0], stop), (TEXTS[1], plain))
    ours, theirs = (each.generate_until(requests, disable_tqdm=True) for each in both)
    assert ours == theirs and len(ours[2]) < len(ours[0])


def test_options_that_are_not_known_are_refused(both):
    with pytest.raises(ValueError, match="generation_kwargs: num_beams are not known here"):
        both[0].generate_until(asked("generate_until", ("the", {"num_beams": 4, "until": []})))


@pytest.mark.slow
def test_a_task_of_local_data_gets_the_same_scores(both, tmp_path):
    import lm_eval
    from lm_eval.tasks import TaskManager

    rows = [
        {"q": f"the {a} cat is", "choices": [" here.", " gone."], "gold": i % 2}
        for i, a in enumerate(["big", "red"] * 5)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    task = {
        "task": "cats",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}, "cache_dir": str(tmp_path / "cache")},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}",
    }
    known = TaskManager(include_defaults=False)
    found = [
        lm_eval.simple_evaluate(each, tasks=[task], bootstrap_iters=0, task_manager=known, log_samples=False)
        for each in both
    ]
    ours, theirs = (each["results"]["cats"] for each in found)
    assert ours["acc,none"] == theirs["acc,none"] and ours["acc_norm,none"] == theirs["acc_norm,none"]
