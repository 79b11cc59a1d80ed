import pickle

import pytest

from omniformer.config import ConfigError
from omniformer.training.study import Search, Space, TrialFailed, print_trials
from omniformer.training.watching import Score

optuna = pytest.importorskip("optuna")
SPACE = ["++core.n_layers=1,2,4", "++optim.lr=tag(log,interval(1e-4,1e-2))", "seed=1"]


class Runs:
    """Settings of which the middle rate is the best; `fails` says which trials do not end."""

    def __init__(self, *, metric="val/accuracy", mode="max", fails=lambda number: False):
        self.metric, self.mode, self.fails, self.seen = metric, mode, fails, []

    def __call__(self, runs, number):
        self.seen.append((number, runs))
        if self.fails(number):
            raise TrialFailed("no memory")
        found = []
        for place, run in enumerate(runs):
            settings = dict(each.lstrip("+").split("=") for each in run)
            far = abs(float(settings["optim.lr"]) - 1e-3) * 1e3
            value = -far if self.mode == "max" else far
            found.append((Score(value + 10 * place, metric=self.metric, mode=self.mode), f"run/{number + place}"))
        return found


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'studies.db'}"


def search(*arguments, storage=None, **options):
    return Search(Space.of(arguments or SPACE), storage=storage, name="it", seed=0, **options)


def test_the_words_of_hydra_say_what_is_searched():
    words = ["a=1", "b=x,y", "c=range(2,9,3)", "d=interval(0,1)", "e=tag(log,int(interval(1,64)))", "f=range(0,1,0.25)"]
    space = Space.of(words)
    spread = optuna.distributions
    assert space.fixed == ["a=1"] and space.keys == {each: each for each in "bcdef"}
    assert space.values == {
        "b": spread.CategoricalDistribution(["x", "y"]),
        "c": spread.IntDistribution(2, 8, step=3),  # Hydra's range ends before its end
        "d": spread.FloatDistribution(0.0, 1.0),
        "e": spread.IntDistribution(1, 64, log=True),
        "f": spread.FloatDistribution(0.0, 0.75, step=0.25),
    }


def test_a_trial_runs_every_fold_and_seed_and_its_value_is_the_mean():
    runs, found = Runs(), search(*SPACE[:2], "members.a.data.fold=0,1", "seed=3,4")
    found.run(2, runs)
    assert [number for number, _ in runs.seen] == [0, 4]
    told = [[each for each in run if "fold" in each or "seed" in each] for run in runs.seen[0][1]]
    assert told == [[f"members.a.data.fold={fold}", f"seed={seed}"] for fold in (0, 1) for seed in (3, 4)]
    first = found.study.trials[0]
    assert first.value == pytest.approx(15 - abs(first.params["optim.lr"] - 1e-3) * 1e3)
    assert first.user_attrs["folders"] == ["run/0", "run/1", "run/2", "run/3"]


def test_a_search_about_nothing_is_refused():
    with pytest.raises(ConfigError, match="nothing is searched; give a key several values"):
        Space.of(["a=1", "data.fold=0,1"])


@pytest.mark.quick(1)
@pytest.mark.parametrize("sampler", ["tpe", "random", pytest.param("gp", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("mode", "direction"), [("max", "MAXIMIZE"), ("min", "MINIMIZE")])
def test_the_study_follows_the_metric_of_the_runs(storage, sampler, mode, direction):
    if sampler == "gp":
        pytest.importorskip("scipy")
    found = search(storage=storage, sampler=sampler)
    found.run(6, Runs(metric="val/it", mode=mode))
    assert found.study.direction.name == direction and found.study.user_attrs["metric"] == "val/it"
    distances = [abs(each.params["optim.lr"] - 1e-3) for each in found.completed]
    assert len(distances) == 6 and distances == sorted(distances)
    (kept,) = optuna.get_all_study_summaries(storage)
    assert (kept.study_name, kept.n_trials, kept.direction.name) == ("it", 6, direction)


def test_failed_trials_are_told_and_kept_even_before_the_first_good_one(storage, capsys):
    found = search(storage=storage)
    found.run(6, Runs(fails=lambda number: number in (0, 1, 4)))
    states = [each.state.name == "COMPLETE" for each in found.study.trials]
    assert states == [False, False, True, True, False, True]
    assert "trial 4 failed and is left out: no memory" in capsys.readouterr().out
    assert found.ended[4].user_attrs["why"] == "no memory" and len(found.completed) == 3


def test_a_search_whose_first_trials_all_fail_ends(storage):
    runs = Runs(fails=lambda number: True)
    found = search(storage=storage)
    with pytest.raises(
        ConfigError, match=r"none of the first 3 trials \(0, 1, 2\) gave a number; the first: no memory"
    ):
        found.run(20, runs)
    assert len(runs.seen) == 3
    assert found.kept_in == "memory alone"  # where such trials are


def test_a_search_of_fewer_trials_that_all_fail_is_a_mistake_too(storage):
    with pytest.raises(ConfigError, match=r"none of the first 2 trials \(0, 1\) gave a number"):
        search(storage=storage).run(2, Runs(fails=lambda number: True))
    found = search(storage=storage)
    found.run(2, Runs(fails=lambda number: number == 0))
    assert found.kept_in == storage


@pytest.mark.slow
def test_a_search_goes_on_where_its_storage_ends_and_draws_others(storage):
    search(storage=storage).run(3, Runs())
    again = search(storage=storage)
    runs = Runs()
    again.run(5, runs)
    assert [number for number, _ in runs.seen] == [3, 4]
    rates = [each.params["optim.lr"] for each in again.study.trials]
    assert len(set(rates)) == 5
    search(storage=storage).run(5, Runs(fails=lambda number: True))  # it has them


@pytest.mark.slow
def test_a_trial_that_was_broken_off_says_nothing_and_is_not_counted(storage):
    def interrupted(runs, number):
        raise KeyboardInterrupt

    search(storage=storage).run(2, Runs())
    with pytest.raises(KeyboardInterrupt):
        search(storage=storage).run(4, interrupted)
    again = search(storage=storage)
    assert len(again.ended) == 2
    again.run(4, Runs())
    assert len(again.completed) == 4 and len(again.study.trials) == 5


def test_a_study_about_another_metric_or_of_other_values_is_refused(storage):
    search(storage=storage).run(1, Runs())
    with pytest.raises(ConfigError, match="'it' is about val/accuracy, and these runs watch val/loss"):
        search(storage=storage).run(2, Runs(metric="val/loss"))
    with pytest.raises(ConfigError, match="'it' searched otherwise"):
        search("++core.n_layers=1,2,3", SPACE[1], storage=storage).run(2, Runs())


def test_runs_that_watch_nothing_are_failures():
    with pytest.raises(ConfigError, match="a run watched no metric"):
        search().run(3, lambda runs, number: [(None, "run/0")])


def test_the_table_has_the_best_first_and_tells_where_all_is(storage, capsys):
    found = search(storage=storage)
    found.run(4, Runs(fails=lambda number: number == 2))
    capsys.readouterr()
    print_trials(found)
    told = capsys.readouterr().out
    lines = [line for line in told.splitlines() if line.startswith("│")]
    assert "it: 3 trials, 1 failed" in told and "val/accuracy" in told and "core.n_layers" in told
    assert [int(line.split("│")[1]) for line in lines] == [each.number for each in found.completed] + [2]
    assert "failed" in lines[-1] and f"the best is in run/{found.completed[0].number}" in told and storage in told


def test_a_score_is_a_number_that_knows_its_metric_and_travels():
    score = pickle.loads(pickle.dumps(Score(0.5, metric="val/accuracy", mode="max")))
    assert (score, score.metric, score.mode) == (0.5, "val/accuracy", "max")
