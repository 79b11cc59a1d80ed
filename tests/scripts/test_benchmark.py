"""Every benchmark runs, and both of its sides compute the same; nothing here asks whether it is fast."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module", autouse=True)
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("benchmark", "benchmarks")]:
        del sys.modules[name]


def test_every_subject_runs_and_its_sides_compute_the_same(capsys):
    import benchmark

    benchmark.main(["all", "--quick"])  # raises where they do not
    said = capsys.readouterr().out
    assert said == f"{len(benchmark.SUBJECTS)} subjects: all sides compute the same\n"


def test_a_side_with_other_weights_or_operations_is_named():
    from benchmarks.measuring import differences, training

    def contender(name, width, rows, **options):
        model = nn.Linear(8, width, bias=False)
        return training(name, model, lambda: model(torch.ones(rows, 8)).sum(), **options)

    ours, larger, longer = contender("ours", 4, 10), contender("larger", 5, 8), contender("longer", 4, 11)
    assert differences([ours, contender("same", 4, 10)]) == []
    assert differences([ours, larger]) == ["larger has 40 weights, ours 32"]
    assert differences([ours, longer]) == ["longer has 1,408 operations, ours 1,280"]
    assert differences([ours, contender("padded", 4, 20, alike=False)]) == []


def test_memory_is_what_tensors_hold_at_most_at_a_time():
    from benchmarks.measuring import Contender, allocated

    def step():
        for _ in range(3):
            torch.ones(1000, 1000)

    assert 4e6 <= allocated(Contender(name="x", step=step, n_parameters=0, traffic=0.0)) < 4.1e6


def test_the_products_and_attentions_of_a_step_alone_are_its_operations_and_none_of_the_rest():
    from benchmarks.measuring import Contender, computed, products_alone

    model, calls = nn.Linear(8, 8), []

    def step():
        calls.append(1)
        x = model(torch.ones(2, 3, 4, 8)).relu()
        F.scaled_dot_product_attention(x, x, x).sum().backward()

    whole = Contender(name="ours", step=step, n_parameters=72, traffic=1.0)
    alone = products_alone(whole)
    assert computed(alone) == computed(whole) > 0
    assert len(calls) == 2  # one to see them, one to count: the products alone do not take the step
    assert (alone.name, alone.alike) == ("ours, products and attention alone", False)


def test_rows_of_a_subject_replace_those_that_the_page_has():
    import benchmark

    table = [benchmark._HEADER, "|---|", "| a | ours | 1 |", "| b | ours | 2 |"]
    page = "\n".join(["# Title", "", *table, "", "The end."])
    lines = benchmark.with_rows(page, "a", ["| a | ours | 3 |", "| a | other | 4 |"]).splitlines()
    assert lines[4:] == ["| a | ours | 3 |", "| a | other | 4 |", "| b | ours | 2 |", "", "The end."]
    assert benchmark.with_rows(page, "c", ["| c | ours | 5 |"]).splitlines()[5:7] == [table[3], "| c | ours | 5 |"]
    with pytest.raises(ValueError, match="no table"):
        benchmark.with_rows("# Title", "a", [])


def test_conditions_of_a_subject_are_written_by_the_script_in_place_of_those_that_the_page_has():
    import benchmark

    said = benchmark.conditions(True, 3)
    for part in (f"torch {torch.__version__}", f"{torch.get_num_threads()} threads", "memory kept", "3 rounds", "load"):
        assert part in said
    listed = [benchmark._CONDITIONS, "", "- `a`: old", "- `ab`: other", "", "The end."]
    page = benchmark.with_conditions("\n".join(listed), "a", "new")
    assert page.splitlines()[2:] == ["- `a`: new", "- `ab`: other", "", "The end."]
    assert benchmark.with_conditions(page, "c", "x").splitlines()[3:5] == ["- `ab`: other", "- `c`: x"]
    with pytest.raises(ValueError, match="no line"):
        benchmark.with_conditions("# Title", "a", "x")
    assert benchmark._CONDITIONS in benchmark.PAGE.read_text(encoding="utf-8").splitlines()


def test_where_goals_stand_is_what_the_page_has_measured():
    import benchmark
    from benchmarks.goals import GOALS, with_goals

    page = benchmark.PAGE.read_text(encoding="utf-8")
    assert with_goals(page, benchmark._HEADER) == page
    assert {subject for _, subject, _ in GOALS.values()} == set(benchmark.SUBJECTS)
    row = "| molecules | {} | 1 | 1 | 1 | 1.25 | 1.75 | 1 | 1 | 1% |"
    rows = [row.format("ours"), row.format("TransformerConv")]
    again = with_goals(benchmark.with_rows(page, "molecules", rows), benchmark._HEADER)
    assert "\n| molecules like TransformerConv | 1.5 | 1.25, 1.75 | " in again
    with pytest.raises(ValueError, match="'molecules like TransformerConv' has no row, or molecules no rows of"):
        with_goals(benchmark.with_rows(page, "molecules", rows[:1]), benchmark._HEADER)


def test_goals_of_memory_and_of_shares_are_turned_round():
    from benchmarks.goals import faster, memory, share

    ours, other = {"ratio": "1.00", "cpu": "1.00", "MiB": "1,000"}, {"ratio": "0.50", "cpu": "0.80", "MiB": "4,000"}
    assert (faster(ours, other), share(ours, other), memory(ours, other)) == ("0.50, 0.80", "2.00, 1.25", "0.25")


def test_products_of_medium_precision_are_held_against_the_fastest_other_of_either():
    from benchmarks.goals import at_medium
    from benchmarks.measuring import Contender
    from benchmarks.measuring import at_medium as made

    found = []
    plain = Contender(
        name="x", step=lambda: found.append(torch.get_float32_matmul_precision()), n_parameters=0, traffic=0.0
    )
    medium = made(plain)
    medium.step()
    plain.step()
    assert (found, medium.name) == (["medium", "highest"], "x, medium")
    rows = {
        "ours": {"ratio": "1.00", "cpu": "1.00"},
        "a": {"ratio": "1.10", "cpu": "1.20"},
        "ours, medium": {"ratio": "0.80", "cpu": "0.75"},
        "a, medium": {"ratio": "1.00", "cpu": "1.50"},
    }
    assert at_medium(rows) == "; with medium 1.25, 1.60"
    assert at_medium({"ours": rows["ours"], "a": rows["a"]}) == ""
