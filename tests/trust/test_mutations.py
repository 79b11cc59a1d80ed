"""The product broken on purpose, one line at a time in a copy of it: the test file of the room notices each break."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COPIED = ("omniformer", "tokenizers", "hydra_plugins", "conf", "docs", "examples", "scripts", "tests")
ALONE = ("pyproject.toml", "README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")


@dataclass(frozen=True)
class Break:
    """One wrong line: what it does, where it stands, what stood there, and the tests of that room."""

    what: str
    file: str
    old: str
    new: str
    tests: str

    def __str__(self) -> str:
        return self.what.replace(" ", "_")


HOSTILE = "tests/trust/test_hostile_folders.py"
TRAINING, TESTS = "omniformer/training", "tests/training"
BREAKS = [
    Break(
        "a run that is measured allows itself what it names",
        "omniformer/run_folder.py",
        "with allowing(allow_targets):",
        'with allowing([*allow_targets, *(config.get("allow_targets") or [])]):',
        f"{HOSTILE}::test_the_settings_of_a_run_measure_it_and_do_nothing_else",
    ),
    Break(
        "links out of a folder are followed",
        "omniformer/files/untrusted.py",
        "if not path.resolve().is_relative_to(home):",
        "if path is None:",
        f"{HOSTILE}::test_links_lead_nowhere_else",
    ),
    Break(
        "a file that is read starts programs",
        "omniformer/data/quarantine.py",
        '"pty.spawn", "subprocess.")',
        '"pty.spawn")',
        "tests/data/test_quarantine.py",
    ),
    Break(
        "a batch that a kill left unfinished counts among those of validations",
        f"{TRAINING}/savepoint.py",
        "batch_progress.total.reset_on_restart()",
        "batch_progress.total",
        f"{TESTS}/test_savepoint.py::test_a_resumed_run_that_is_resumed_again_validates_once_each_time",
    ),
    Break(
        "words without a token are passed over in silence",
        "omniformer/data/marks.py",
        "elif label >= 0:",
        "elif label < -1:",
        "tests/data/test_marks.py",
    ),
    Break(
        "ranks do not agree on a loss that is not finite",
        f"{TRAINING}/finite.py",
        "if self._agreement.any(bad):",
        "if bad:",
        f"{TESTS}/test_two_ranks.py",
    ),
    Break(
        "step seeds ignore the rank",
        f"{TRAINING}/rng.py",
        'f"{seed} {epoch} {batch} {rank}"',
        'f"{seed} {epoch} {batch}"',
        f"{TESTS}/test_rng.py",
    ),
    Break(
        "accumulated gradients are summed over ranks",
        f"{TRAINING}/accumulation.py",
        'reduce_op="mean"',
        'reduce_op="sum"',
        f"{TESTS}/test_two_ranks.py",
    ),
    Break(
        "throughput is that of one rank",
        f"{TRAINING}/throughput.py",
        "self._agreement.gather_read(mine)",
        "[mine]",
        f"{TESTS}/test_two_ranks.py",
    ),
    Break(
        "the bytes of a checkpoint are not forced to disk",
        f"{TRAINING}/checkpoint_io.py",
        '        file.flush()\n        os.fsync(file.fileno())\n    return {"size"',
        '        file.flush()\n    return {"size"',
        f"{TESTS}/test_checkpoint_io.py",
    ),
    Break(
        "the name of a checkpoint is not forced to disk",
        f"{TRAINING}/checkpoint_io.py",
        "os.replace(temporary, path)\n                sync_folder(path.parent)",
        "os.replace(temporary, path)",
        f"{TESTS}/test_checkpoint_io.py",
    ),
    Break(
        "the bytes of a sidecar are not forced to disk",
        "omniformer/files/durable.py",
        "            file.flush()\n            os.fsync(file.fileno())\n        os.replace",
        "            file.flush()\n        os.replace",
        "tests/files/test_durable.py",
    ),
    Break(
        "the name of a sidecar is not forced to disk",
        "omniformer/files/durable.py",
        "        temporary.unlink(missing_ok=True)\n    sync_folder(path.parent)",
        "        temporary.unlink(missing_ok=True)",
        "tests/files/test_durable.py",
    ),
    Break(
        "a validation that was interrupted counts as done",
        f"{TRAINING}/savepoint.py",
        "    _rewind(progress)\n    try:",
        "    try:",
        f"{TESTS}/test_savepoint.py",
    ),
    Break(
        "a stop in a validation is saved as one behind it",
        f"{TRAINING}/stop.py",
        "save(trainer, self.path, before_validation=before_validation)",
        "save(trainer, self.path, before_validation=False)",
        f"{TESTS}/test_stop.py::test_stopped_run_goes_on_as_if_nothing_had_happened",
    ),
    Break(
        "a save in the background fails without a word",
        f"{TRAINING}/background.py",
        "saving.result()",
        "saving.exception()",
        f"{TESTS}/test_background.py",
    ),
    Break(
        "what is saved in the background goes on changing",
        f"{TRAINING}/background.py",
        "snapshot(checkpoint), path",
        "checkpoint, path",
        f"{TESTS}/test_background.py",
    ),
    Break(
        "a resumed run may have another average of weights",
        f"{TRAINING}/resume.py",
        "return _matches(key, FREE) and not _matches(key, FIXED)",
        "return _matches(key, FREE)",
        f"{TESTS}/test_resume.py",
    ),
    Break(
        "an average of weights begins at the random start",
        f"{TRAINING}/ema.py",
        "min(self.decay, (1 + self._n) / (10 + self._n))",
        "self.decay",
        f"{TESTS}/test_ema.py",
    ),
    Break(
        "the rate is that of the update before",
        f"{TRAINING}/schedules.py",
        "return lambda done: factor(done + 1)",
        "return lambda done: factor(done)",
        f"{TESTS}/test_schedules.py",
    ),
    Break(
        "norms are decayed",
        f"{TRAINING}/parameter_groups.py",
        "isinstance(module, _EMBEDDINGS) or norm or name",
        "isinstance(module, _EMBEDDINGS) or name",
        f"{TESTS}/test_parameter_groups.py",
    ),
    Break(
        "distance buckets ignore max_distance",
        "omniformer/core/biases.py",
        "math.log(self.max_distance / near)",
        "math.log(128 / near)",
        "tests/core/test_biases.py",
    ),
    Break(
        "a causal token does not see itself",
        "omniformer/core/rules/order.py",
        "return key.index <= query.index",
        "return key.index < query.index",
        "tests/core/rules/test_order.py",
    ),
    Break(
        "padding of keys is attended to",
        "omniformer/core/attention/dense.py",
        "None if _even(key_layout, samples) else key_valid",
        "None",
        "tests/core/attention/test_dense.py",
    ),
    Break(
        "embeddings of ids are not scaled",
        "omniformer/embedders/ids.py",
        "x if self.scale == 1 else x * self.scale",
        "x",
        "tests/embedders/test_embedders.py",
    ),
    Break(
        "the last token is the first",
        "omniformer/heads/pooling.py",
        "return _picked(x, layout, -1)",
        "return _picked(x, layout, 0)",
        "tests/heads/test_heads.py",
    ),
    Break(
        "stabilised updates are scaled as plain ones",
        "omniformer/adapters/lora.py",
        "self.alpha / (self.rank**0.5 if self.rank_stabilised else self.rank)",
        "self.alpha / self.rank",
        "tests/adapters/test_lora.py",
    ),
    Break(
        "a resumed epoch begins at its first batch",
        "omniformer/data/plan.py",
        "range(batch, len(batches))",
        "range(len(batches))",
        "tests/data/test_plan.py",
    ),
    Break(
        "evaluation hides other tokens with another seed",
        "omniformer/data/masking.py",
        "(self.seed, epoch) if self.train else (0, 0)",
        "(self.seed, epoch)",
        "tests/data/test_masking.py",
    ),
    Break(
        "each rank takes its own mean for the whole one",
        "omniformer/tasks/whole_step.py",
        "n_ranks() * self.tasks[name].count(batch)",
        "self.tasks[name].count(batch)",
        "tests/tasks/test_whole_step.py",
    ),
    Break(
        "min_p is a bound for every row alike",
        "omniformer/generation/sampling.py",
        "self.min_p * probabilities.amax(-1, keepdim=True)",
        "self.min_p",
        "tests/generation/test_sampling.py",
    ),
    Break(
        "the width of values is not counted",
        "omniformer/inspection/cost.py",
        "2 * call.n_heads * (call.head_dim + call.value_dim)",
        "4 * call.n_heads * call.head_dim",
        "tests/inspection/test_cost.py",
    ),
    Break(
        "the smallest number of a range is refused",
        "omniformer/config/ranges.py",
        "value >= self.least",
        "value > self.least",
        "tests/config/test_ranges.py",
    ),
    Break(
        "a picture may have a thousand times as many pixels",
        "tokenizers/omniformer_tokenizers/limits.py",
        "    if n > limit:",
        "    if n > 1000 * limit:",
        "tokenizers/tests/test_limits.py",
    ),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The sources, without what was compiled of them: what is broken within a second must be read again. All tests that
    are named pass on them as they are.
    """
    place = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, place / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ALONE:
        shutil.copy(REPOSITORY / name, place)
    passed, printed = passes(place, *dict.fromkeys(change.tests for change in BREAKS))
    assert passed, printed
    return place


def passes(copy: Path, *tests: str) -> tuple[bool, str]:
    """Whether tests pass on a copy, and what was printed."""
    environment = os.environ | {
        "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'tokenizers'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-x", "-p", "no:cacheprovider", "--timeout", "0", *tests]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr[-1000:]  # a broken test is none that fails
    return done.returncode == 0, done.stdout[-3000:]


@contextmanager
def broken(copy: Path, change: Break) -> Iterator[None]:
    path = copy / change.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(change.old, change.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def test_every_break_names_one_place_of_the_source_and_tests_that_there_are():
    assert len(BREAKS) >= 20
    for change in BREAKS:
        assert (REPOSITORY / change.file).read_text(encoding="utf-8").count(change.old) == 1, change.what
        file, _, name = change.tests.partition("::")
        assert f"def {name}" in (REPOSITORY / file).read_text(encoding="utf-8"), change.tests


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("change", BREAKS, ids=str)
def test_a_break_is_noticed_by_the_tests_of_its_room(copy, change):
    with broken(copy, change):
        unnoticed, _ = passes(copy, change.tests)
    assert not unnoticed, f"{change.tests} passes although {change.what}"
