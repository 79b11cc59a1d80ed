import pytest

from omniformer.config.ranges import RANGES, UNBOUNDED, Range, misfit, ranged


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("d_model", [1, 64], [0, -1]),
        ("dropout", [0, 0.0, 0.999], [1, 1.0, -0.1]),
        ("lr", [1e-12, 1], [0, -1e-3]),
        ("seed", [0, 2**32 - 1], [-1, 2**32]),
        ("max_epochs", [1], [0, -1]),
        ("max_steps", [-1, 1], [0, -2]),
        ("devices", [-1, 1, "auto", [1, 2]], [0, -2, [-5]]),
        ("betas", [[0.9, 0.999]], [[0.9, 1.0], [-0.1, 0.5]]),
        ("image_size", [8, [8, 8]], [0, [8, 0]]),
        ("lr", [{"core": 0.1}], [{"core": -1}]),
        ("limit_train_batches", [0, 5, 0.5, 1.0, None], [-1, 1.5, -0.5]),
        ("unheard_of", [-1e9, "x"], []),
    ],
)
def test_a_name_has_the_same_range_everywhere(name, good, bad):
    assert [value for value in good if misfit(name, value)] == []
    assert [value for value in bad if not misfit(name, value)] == []


def test_true_and_false_are_no_numbers():
    assert misfit("overfit_batches", True) is None


def test_no_name_is_both_bounded_and_unbounded():
    assert not RANGES.keys() & UNBOUNDED.keys()


def test_every_range_has_words():
    assert all(each.words for each in RANGES.values())
    assert Range(least=1, also=(-1,)).words == "at least 1 or -1"


def test_the_table_speaks_of_our_packages_and_those_whose_names_we_took_over():
    ours = [
        "omniformer.adapters.lora",
        "omniformer_tokenizers",
        "lightning.pytorch.trainer.trainer",
        "torch.optim.adamw",
    ]
    assert all(map(ranged, ours))
    assert not any(map(ranged, ["mypackage.nets", "omniformers.nets", "torchdata"]))
