"""A search for good settings: what is searched, its trials, and the table of what they found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer

from omniformer.config import ConfigError
from omniformer.terminal.tables import show
from omniformer.training.results import format_number
from omniformer.training.sweeps import repeats
from omniformer.training.watching import Score

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Sampler = Literal["tpe", "random", "gp"]
Launch = Callable[[Sequence[tuple[str, ...]], int], Sequence[tuple[Score | None, str]]]
"""Runs some settings, the first under a number, and gives of each its score and folder; raises `TrialFailed`."""
_SAMPLERS: dict[Sampler, str] = {"tpe": "TPESampler", "random": "RandomSampler", "gp": "GPSampler"}
_HOPELESS = 3  # trials without a number at the beginning of a study


class TrialFailed(Exception):  # noqa: N818 - it is no error of the search
    """A run of a trial did not come to its end; the message says why."""


@dataclass(frozen=True)
class Space:
    """What a search is about, read from the overrides of a command line.

    Args:
        keys: of what is searched, as typed, by their names.
        values: those of which each trial draws one, by the same names.
        fixed: settings that all runs share.
        repeated: settings of fold or seed: a trial is a run of each of them, and its value their mean.
    """

    keys: Mapping[str, str]
    values: Mapping[str, BaseDistribution]
    fixed: Sequence[str]
    repeated: Sequence[tuple[str, ...]]

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Space:
        """Reads the words of Hydra: `a,b`, `range(2,9)`, `interval(0,0.5)`, `tag(log,interval(1e-4,1e-2))`; of whole
        numbers `int(interval(2,9))`.

        Raises:
            ConfigError: nothing is left to be searched.
        """
        keys, values, fixed, repeated = {}, {}, [], []
        for override in OverridesParser.create().parse_overrides(list(arguments)):
            key = override.get_key_element()
            if not override.is_sweep_override():
                fixed.append(str(override.input_line))
            elif repeats(f"{key.lstrip('+')}="):
                repeated.append([f"{key}={each}" for each in override.sweep_iterator(transformer=Transformer.str)])
            else:
                keys[key.lstrip("+")], values[key.lstrip("+")] = key, _values(override)
        if not keys:
            message = "hydra/sweeper=optuna: nothing is searched; give a key several values, as in core.n_layers=2,4"
            raise ConfigError([f"{message} or 'optim.lr=tag(log,interval(1e-4,1e-2))'"])
        return cls(keys, values, fixed, list(product(*repeated)))

    def runs(self, drawn: Mapping[str, Any]) -> list[tuple[str, ...]]:
        """The settings of each run of a trial."""
        own = [f"{self.keys[name]}={value}" for name, value in drawn.items()]
        return [(*self.fixed, *own, *repeat) for repeat in self.repeated]


def _values(override: Override) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if isinstance(value, IntervalSweep):
        low, high, log = value.start, value.end, "log" in value.tags
        whole = isinstance(low, int) and isinstance(high, int)
        kind = IntDistribution if whole else FloatDistribution
        return kind(low, high, log=log)  # pyright: ignore[reportArgumentType]
    if isinstance(value, RangeSweep) and not value.shuffle:
        numbers: list[Any] = list(override.sweep_iterator(transformer=Transformer.identity))
        kind = IntDistribution if all(isinstance(each, int) for each in numbers) else FloatDistribution
        return kind(numbers[0], numbers[-1], step=value.step)  # pyright: ignore[reportArgumentType]
    choices: list[Any] = list(override.sweep_iterator(transformer=Transformer.str))
    return CategoricalDistribution(choices)


class Search:
    """A study of Optuna that follows the metric of its runs, and goes on where its storage ends.

    Which metric that is, and which way it is better, the first good run says: until then trials are kept in memory.

    Args:
        space: what is searched.
        storage: where trials are kept, in Optuna's words, such as `sqlite:///<file>`; None keeps them in memory.
        name: of the study in the storage.
        sampler: who chooses settings: `tpe` (Bergstra et al. 2011), `gp` (a Gaussian process) or `random`.
        seed: of the sampler; None takes another one each time, as several processes at one storage want.
    """

    def __init__(
        self, space: Space, *, storage: str | None, name: str, sampler: Sampler = "tpe", seed: int | None = None
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.storage, self.name, self.seed = space, storage, name, seed
        self.sampler: Sampler = sampler
        self.study = optuna.create_study()
        if storage is not None and name in optuna.get_all_study_names(storage):
            self.study = optuna.load_study(study_name=name, storage=storage)
        self.study.sampler = self._sampler()

    def run(self, n_trials: int, launch: Launch) -> None:
        """Tries settings until the study has so many trials, failed ones and those of other processes among them.

        Args:
            n_trials: how many.
            launch: runs settings.

        Raises:
            ConfigError: none of the first trials gives a number, or runs watch another metric than those of the study.
        """
        while len(self.ended) < n_trials:
            trial = self._drawn()
            try:
                score = self._tried(trial, launch)
            except TrialFailed as error:
                self._fail(trial, why=str(error))
                print(f"trial {trial.number} failed and is left out: {error}")
                if len(self.ended) >= _HOPELESS and not self.completed:
                    break
            except BaseException:  # Ctrl-C, or a mistake in the command: this trial says nothing of its settings
                self._fail(trial, interrupted=True)
                raise
            else:
                self.study.tell(trial, float(score))
                if "metric" not in self.study.user_attrs:
                    self._keep(score)
        if not self.completed:
            numbers = ", ".join(str(each.number) for each in self.ended)
            why = self.ended[0].user_attrs.get("why", "see above")
            raise ConfigError(
                [f"none of the first {len(self.ended)} trials ({numbers}) gave a number; the first: {why}"]
            )

    @property
    def kept_in(self) -> str:
        """Where the trials are, for messages: without a good one they are in no storage yet."""
        return self.storage if self.storage is not None and "metric" in self.study.user_attrs else "memory alone"

    @property
    def ended(self) -> list[FrozenTrial]:
        """The trials that came to an end, good or bad."""
        return [each for each in self.study.trials if each.state.is_finished() and "interrupted" not in each.user_attrs]

    @property
    def completed(self) -> list[FrozenTrial]:
        """The trials that gave a number, the best first."""
        from optuna.study import StudyDirection

        found = [each for each in self.ended if each.value is not None]
        sign = -1.0 if self.study.direction == StudyDirection.MAXIMIZE else 1.0
        return sorted(found, key=lambda each: sign * (each.value or 0.0))

    def _drawn(self) -> Trial:
        try:
            return self.study.ask(dict(self.space.values))
        except ValueError as error:
            message = f"the study {self.name!r} searched otherwise ({error})"
            raise ConfigError([f"{message}; give this one a name, hydra.sweeper.study=..."]) from None

    def _tried(self, trial: Trial, launch: Launch) -> Score:
        """The mean over the runs of a trial."""
        runs = self.space.runs(trial.params)
        found = launch(runs, trial.number * len(runs))
        trial.set_user_attr("folders", [folder for _, folder in found])
        scores = [score for score, _ in found if score is not None]
        if len(scores) < len(found):
            raise TrialFailed(
                "a run watched no metric: callbacks.best does so at each validation, of which a run that is shorter "
                "than an epoch (trainer.max_steps) has none"
            )
        score = Score(mean(map(float, scores)), metric=scores[0].metric, mode=scores[0].mode)
        known = self.study.user_attrs.get("metric", score.metric)
        if known != score.metric:
            message = f"the study {self.name!r} is about {known}, and these runs watch {score.metric}"
            raise ConfigError([f"{message}; give this one a name, hydra.sweeper.study=..."])
        return score

    def _fail(self, trial: Trial, **why: object) -> None:
        from optuna.trial import TrialState

        for name, value in why.items():
            trial.set_user_attr(name, value)
        self.study.tell(trial, state=TrialState.FAIL)

    def _keep(self, score: Score) -> None:
        """Makes the study of the storage, now that it is known what it is about, with the trials so far."""
        import optuna

        direction = "maximize" if score.mode == "max" else "minimize"
        kept = optuna.create_study(storage=self.storage, study_name=self.name, direction=direction, load_if_exists=True)
        kept.set_user_attr("metric", score.metric)
        kept.add_trials(self.ended)
        self.study, kept.sampler = kept, self._sampler()

    def _sampler(self) -> Any:
        """Seeded by the trials that there are, too, so that a search that goes on does not draw the same again."""
        import optuna

        seed = None if self.seed is None else self.seed + len(self.study.trials)
        return getattr(optuna.samplers, _SAMPLERS[self.sampler])(seed=seed)


def print_trials(search: Search) -> None:
    """Prints the trials of a search, the best first and failed ones last, and where it is kept."""
    from rich.markup import escape
    from rich.table import Table

    metric = search.study.user_attrs.get("metric", "value")
    failed = [each for each in search.ended if each.value is None]
    title = f"{search.name}: {len(search.completed)} trials" + (f", {len(failed)} failed" if failed else "")
    table = Table(title=escape(title), title_justify="left")
    table.add_column("trial", justify="right")
    table.add_column(escape(metric), justify="right")
    names = list(dict.fromkeys(name for each in search.ended for name in each.params))
    for name in names:
        table.add_column(escape(name), justify="right")
    for each in [*search.completed, *failed]:
        value = "failed" if each.value is None else format_number(metric, each.value)
        drawn = [escape(_shown(each.params.get(name, ""))) for name in names]
        table.add_row(str(each.number), value, *drawn)
    show(table)
    if search.completed:
        best = search.completed[0]
        print(f"the best is in {', '.join(best.user_attrs['folders'])}")
    print(f"trials are kept in {search.kept_in}")


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
