import collections
import os
import pickle
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from omniformer.data.quarantine import QuarantineError, quarantine


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_runs_nothing(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps([Bomb()], protocol=protocol)
    with (
        quarantine(writable=[tmp_path]),
        pytest.raises(QuarantineError, match="wants .*mkdir, which could run anything"),
    ):
        pickle.loads(content)
    assert not Path("pwned").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_tables_and_containers_are_read(protocol):
    value = {"x": np.arange(3.0), "m": csr_matrix(np.eye(2)), "d": collections.defaultdict(list, {1: [2]})}
    content = pickle.dumps(value, protocol=protocol)
    with quarantine():
        read = pickle.loads(content)
    assert (read["x"] == value["x"]).all() and (read["m"] != value["m"]).nnz == 0 and read["d"] == value["d"]


ATTEMPTS = {
    "shell": lambda place: os.system(f"touch {place}"),
    "program": lambda place: subprocess.run(["touch", place], check=True),
    "file": lambda place: Path(place).write_text("x"),
    "descriptor": lambda place: os.open(place, os.O_CREAT | os.O_WRONLY),
    "folder": lambda place: os.mkdir(place),
    "link": lambda place: os.symlink("/etc", place),
    "renamed": lambda place: os.rename("inside/a", place),
    "through dots": lambda place: Path("inside/../pwned").write_text("x"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nothing_is_started_and_nothing_written_elsewhere(attempt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a").write_text("a")
    with quarantine(writable=[tmp_path / "inside"]), pytest.raises(QuarantineError):
        ATTEMPTS[attempt](str(tmp_path / "pwned"))
    assert not (tmp_path / "pwned").exists()


def test_reading_and_writing_inside_are_free_and_the_end_ends_it(tmp_path):
    with quarantine(writable=[tmp_path / "new" / "inside"]):
        (tmp_path / "new" / "inside").mkdir(parents=True)
        (tmp_path / "new" / "inside" / "a").write_text("a")
        assert (tmp_path / "new" / "inside" / "a").read_text() == "a"
    (tmp_path / "b").write_text("b")


def test_an_inner_quarantine_writes_where_the_outer_one_may(tmp_path):
    with quarantine(), quarantine(writable=[tmp_path]), pytest.raises(QuarantineError):
        (tmp_path / "a").write_text("a")


def test_connections_are_refused_where_they_are_not_wanted():
    with quarantine(offline=True), socket.socket() as plug, pytest.raises(QuarantineError, match="socket.connect"):
        plug.connect(("127.0.0.1", 9))
