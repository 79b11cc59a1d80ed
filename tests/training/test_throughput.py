"""What was learned from is counted exactly; seconds exclude what they say they exclude."""

import time

import pytest

from omniformer.training.throughput import Throughput, count

TOKENS_OF_AN_EPOCH = sum(1 + i % 3 for i in range(12))


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_tokens_and_samples_of_a_run_are_counted(regressor, make_loader, make_trainer):
    throughput = Throughput()
    make_trainer(throughput).fit(regressor(), make_loader(), make_loader())
    results = throughput.results()
    assert results["train/samples"] == 3 * 12
    assert results["train/tokens"] == 3 * TOKENS_OF_AN_EPOCH
    assert not any(name.startswith("points/") for name in results)


def test_seconds_include_validation_and_the_rate_does_not(regressor, make_loader, make_trainer, clock):
    module, throughput = regressor(), Throughput()
    module.before_step = lambda *_: clock.__setitem__(0, clock[0] + 2.0)
    module.on_validation_batch_start = lambda *_: clock.__setitem__(0, clock[0] + 50.0)
    make_trainer(throughput).fit(module, make_loader(), make_loader())
    results = throughput.results()
    assert results["train/seconds"] == 9 * 2 + 9 * 50
    assert results["train/tokens_per_second"] == 3 * TOKENS_OF_AN_EPOCH / (9 * 2)


def test_parts_of_a_resumed_run_add_up(clock):
    first, second = Throughput(), Throughput()
    first.on_train_start(Alone, None)
    clock[0] += 10
    first.tokens["a"] += 30
    first.samples["a"] += 3
    second.load_state_dict(first.state_dict())
    clock[0] += 1000
    second.on_train_start(Alone, None)
    clock[0] += 5
    second.tokens["a"] += 15
    second.on_train_end(Alone, None)
    clock[0] += 1000
    assert second.results() == {
        "train/seconds": 15,
        "train/tokens": 45,
        "train/samples": 3,
        "train/tokens_per_second": 3,
    }


class Alone:
    world_size = 1


def test_members_of_a_mixture_get_their_share(clock):
    throughput = Throughput()
    throughput.tokens.update(text=75, image=25)
    throughput.samples.update(text=3, image=5)
    results = throughput.results()
    assert (results["text/train/tokens"], results["image/train/samples"]) == (75, 5)
    assert (results["text/train/token_share"], results["image/train/token_share"]) == (0.75, 0.25)
    assert results["train/tokens_per_second"] == 0


def test_rate_is_logged_while_training(regressor, make_loader, make_trainer, clock, tmp_path):
    from omniformer.training.csv_log import CSVLog

    module = regressor()
    module.before_step = lambda *_: clock.__setitem__(0, clock[0] + 2.0)
    log = CSVLog(path=str(tmp_path / "metrics.csv"))
    make_trainer(Throughput(), loggers={"csv": log}, log_every_n_steps=3).fit(module, make_loader(), make_loader())
    rows = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    rates = [(int(row[0]), float(row[3])) for row in rows if row[2] == "train/tokens_per_second"]
    assert rates == [(step, TOKENS_OF_AN_EPOCH / 6) for step in (3, 6, 9)]


def test_batch_of_another_kind_is_told(make_loader):
    (batch, *_) = make_loader()
    assert set(count(batch)) == {"points"}
    with pytest.raises(TypeError, match="dict of member name -> Batch; received list"):
        count([batch])
