"""Windows of series are what stands in the table, in the usual units, and no part sees what another is asked."""

import pickle

import numpy as np
import pytest
import torch

from omniformer.data import SeriesWindows


@pytest.fixture
def table(tmp_path):
    values = np.random.default_rng(0).normal(5.0, 3.0, (40, 2))
    lines = [f"2020-01-{i},{a},{b}" for i, (a, b) in enumerate(values.tolist())]
    (tmp_path / "loads.csv").write_text("\n".join(["date,north,south", *lines, ""]))
    return tmp_path, values


def windows(folder, **options):
    return SeriesWindows(
        file="loads.csv", data_root=str(folder), **{"rows": [20, 8, 10], "look_back": 6, "horizon": 3} | options
    )


def test_a_window_is_what_was_and_what_comes_next_in_units_of_training(table):
    folder, values = table
    source = windows(folder)
    scaled = values / values[:20].std(0)
    for split, firsts in {"train": range(6, 18), "val": range(20, 26), "test": range(28, 36)}.items():
        raws = source.split(split)
        assert [raw.id for raw in raws] == [f"{name}/{first}" for name in ("north", "south") for first in firsts]
        for raw, (variable, first) in zip(raws, [(v, f) for v in (0, 1) for f in firsts], strict=True):
            part = scaled[first - 6 : first + 3, variable] - scaled[first - 1, variable]
            torch.testing.assert_close(raw.contents["series"], torch.tensor(part[None, :6]).float())
            torch.testing.assert_close(raw.targets["value"], torch.tensor(part[6:]).float())


def test_persistence_is_the_error_of_zero(table):
    source = windows(table[0])
    wanted = torch.stack([raw.targets["value"] for raw in source.split("test")])
    assert source.baselines()["persistence_rmse"] == pytest.approx(float(wanted.square().mean().sqrt()), rel=1e-5)


def test_training_windows_may_lie_apart_and_variables_be_chosen_and_workers_get_them(table):
    source = windows(table[0], every=4, variables=["south"])
    assert [raw.id for raw in source.split("train")] == ["south/6", "south/10", "south/14"]
    assert len(source.split("val")) == 6
    there = pickle.loads(pickle.dumps(source.split("train")))
    assert torch.equal(there[1].targets["value"], source.split("train")[1].targets["value"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": [20, 8]}, "three numbers"),
        ({"rows": [8, 8, 8]}, "fewer than the 9 of one window"),
        ({"rows": [30, 8, 10]}, "has 40 rows, fewer than the 48"),
        ({"variables": ["west"]}, "no column 'west'; it has date, north, south"),
        ({"variables": ["date"]}, "row 1, column 'date': '2020-01-0' is no finite number"),
    ],
)
def test_what_cannot_be_read_is_said(table, options, message):
    with pytest.raises(ValueError, match=message):
        windows(table[0], **options).split("train")


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"loads\.csv"):
        windows(tmp_path).split("train")
