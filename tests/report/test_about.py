"""What a report says of time and memory."""

from omniformer.pages.blocks import Table
from omniformer.report.about import cost
from omniformer.report.run import Run
from omniformer.training.rooms import Rooms


def run_in(folder, **numbers):
    return Run(folder=folder, config={}, numbers=numbers, curves={"train/memory_gib": {1: 0.5, 2: 0.75}})


def test_the_share_of_the_machine_and_the_memory_are_said(tmp_path):
    (table,) = cost(run_in(tmp_path, **{"train/machine_share": 0.25})).blocks
    assert [row[0] for row in table.rows] == [
        "share of what a plain matrix product would have done in that time",
        "memory at most, GiB",
    ]
    assert table.rows[1][1] == "0.75"


def test_a_profile_is_a_table_by_room(tmp_path):
    rooms = Rooms()
    rooms.seconds, rooms.steps = {"data": 0.02, "core": 0.06}, 2
    (tmp_path / "fit-profile.txt").write_text(f"{rooms.table()}\n\nFIT Profiler Report\n")
    _, table, _ = cost(run_in(tmp_path)).blocks
    assert isinstance(table, Table) and table.caption == "Where the time goes in a step of 40.0 ms"
    assert table.rows == [["data", "10.00", "25.0%"], ["core", "30.00", "75.0%"]]


def test_a_profile_without_rooms_is_named_alone(tmp_path):
    (tmp_path / "fit-profile.txt").write_text("FIT Profiler Report\n\nAction | Mean\n")
    assert len(cost(run_in(tmp_path)).blocks) == 2
