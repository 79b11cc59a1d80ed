"""A live bar on a terminal, whole plain lines elsewhere."""

import io
import re
import sys
import time

import pytest

from omniformer.training.progress import TrainingProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(regressor, make_loader, make_trainer, monkeypatch, stream, progress, **options):
    monkeypatch.setattr(sys, "stderr", stream)
    make_trainer(progress, **options).fit(regressor(), make_loader(), make_loader())
    return stream.getvalue()


def test_redirected_log_has_whole_lines_without_control_characters(regressor, make_loader, make_trainer, monkeypatch):
    text = shown(regressor, make_loader, make_trainer, monkeypatch, io.StringIO(), TrainingProgress(every_seconds=1e-9))
    assert "\r" not in text
    assert "\x1b" not in text
    lines = text.splitlines()
    assert len([line for line in lines if " tokens/s" in line]) == 9
    assert lines[0].startswith("epoch 1/3 batch 1/3 loss ")
    assert " lr 3.33e-03 " in lines[0]
    assert [line.split(":")[0] for line in lines if "val/loss" in line] == [
        f"epoch {e}, step {3 * e}" for e in (1, 2, 3)
    ]


def test_lines_come_no_more_often_than_asked(regressor, make_loader, make_trainer, monkeypatch):
    text = shown(
        regressor, make_loader, make_trainer, monkeypatch, io.StringIO(), TrainingProgress(every_seconds=1000.0)
    )
    assert text.count("tokens/s") == 1  # the last step of all
    assert text.count("val/loss") == 3


def test_loss_is_that_of_the_batch_also_when_gradients_are_accumulated(
    regressor, make_loader, make_trainer, monkeypatch
):
    progress = TrainingProgress(every_seconds=1e-9)
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    module = regressor(accumulate=2)
    make_trainer(progress, accumulate_grad_batches=2).fit(module, make_loader(), make_loader())
    losses = [float(line.split("loss ")[1].split()[0]) for line in stream.getvalue().splitlines() if "tokens/s" in line]
    assert losses == pytest.approx([float.fromhex(loss) for _, loss, _ in module.seen], abs=1e-3)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_time_left_is_that_of_the_run(regressor, make_loader, make_trainer, monkeypatch, accumulate):
    """A clock that moves on by one second at every look: whatever it shows, it falls to nothing at the end."""
    seconds = iter(range(10_000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    progress = TrainingProgress(every_seconds=1e-9)
    make_trainer(progress, accumulate_grad_batches=accumulate).fit(regressor(), make_loader(), make_loader())
    lines = [line for line in stream.getvalue().splitlines() if "tokens/s" in line]
    found = [re.search(r"(\d+):(\d\d):(\d\d) left \d+\.\d GiB$", line) for line in lines]
    left = [int(each[1]) * 3600 + int(each[2]) * 60 + int(each[3]) for each in found if each]
    assert len(left) == len(lines) - (accumulate - 1)  # not before the first step
    assert left[-1] == 0
    assert left[0] > left[3] > left[-2] > 0


def test_the_bar_runs_over_all_steps_and_does_not_end_in_a_validation(
    regressor, make_loader, make_trainer, monkeypatch
):
    text = shown(regressor, make_loader, make_trainer, monkeypatch, Terminal(), TrainingProgress())
    assert "100%" in text[text.rfind("epoch 3/3 batch 3/3") :]
    assert text.count("100%") < 3  # and not at the end of each epoch
    assert "validating" not in text[text.rfind("epoch 3/3 batch 3/3") :]


def test_terminal_gets_a_bar_and_is_left_clean(regressor, make_loader, make_trainer, monkeypatch):
    text = shown(regressor, make_loader, make_trainer, monkeypatch, Terminal(), TrainingProgress())
    assert text.count("val/loss") == 3
    # The cursor is hidden while the bar lives.
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")


@pytest.mark.parametrize(("columns", "lines"), [("62", 2), ("140", 1)])
def test_a_narrow_terminal_has_the_numbers_whole_below_the_bar(
    regressor, make_loader, make_trainer, monkeypatch, columns, lines
):
    monkeypatch.setenv("COLUMNS", columns)
    text = shown(regressor, make_loader, make_trainer, monkeypatch, Terminal(), TrainingProgress())
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text[text.rfind("epoch 3/3 batch 3/3") :])
    bar = r"^epoch 3/3 batch 3/3 ━+ 100%"
    assert re.search(bar + (r" *\n" if lines == 2 else " ") + r"loss .* left \d+\.\d GiB *$", plain, re.MULTILINE), (
        plain
    )


def test_bar_is_closed_when_training_fails(regressor, make_loader, make_trainer, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    module = regressor()
    module.before_step = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        make_trainer(TrainingProgress()).fit(module, make_loader(), make_loader())
    assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l")


def test_disabled_progress_is_silent(regressor, make_loader, make_trainer, monkeypatch):
    progress = TrainingProgress(every_seconds=1e-9)
    progress.disable()
    assert shown(regressor, make_loader, make_trainer, monkeypatch, io.StringIO(), progress) == ""


def test_bad_period_is_told():
    with pytest.raises(ValueError, match=r"every_seconds=0\.0"):
        TrainingProgress(every_seconds=0.0)
