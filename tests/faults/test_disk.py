"""A disk that is full or closed stops the run and leaves the last good checkpoint."""

import os
import subprocess
import sys

import pytest
from torn import rows

from omniformer.training.checkpoint_io import DurableCheckpointIO, latest_checkpoint, remove_leftovers

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

io = DurableCheckpointIO()

SAVE = """
import sys, torch
from omniformer.training.checkpoint_io import DurableCheckpointIO
DurableCheckpointIO().save_checkpoint({"w": torch.rand(int(sys.argv[2]))}, sys.argv[1])
"""


def save_elsewhere(path, size, **how):
    return subprocess.run([sys.executable, "-c", SAVE, str(path), str(size)], capture_output=True, text=True, **how)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs rights that are missing here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_names_the_file_and_keeps_the_last_checkpoint(small_disk):
    assert save_elsewhere(small_disk / "a.ckpt", 250_000).returncode == 0
    for name in ("a.ckpt", "b.ckpt"):
        done = save_elsewhere(small_disk / name, 2_000_000)
        assert done.returncode != 0
        assert f"cannot write checkpoint {small_disk / name}: No space left on device" in done.stderr
    assert latest_checkpoint(small_disk).name == "a.ckpt"
    assert len(io.load_checkpoint(small_disk / "a.ckpt")["w"]) == 250_000
    assert remove_leftovers(small_disk) == []


@pytest.mark.parametrize("way", [{}, {"background": 1}], ids=["at-once", "in-the-background"])
def test_run_on_a_disk_that_fills_stops_within_a_step_with_the_last_checkpoint(start, small_disk, tmp_path, way):
    """Of three checkpoints of 1.8 MB, of steps 1, 2 and 4, the third does not fit beside the two that are kept."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoints").symlink_to(small_disk)
    process = start(run, epochs=1000, accumulate=1, width=450_000, **way)
    assert process.wait(timeout=200) not in (0, None)
    log = (run / "log.txt").read_text()
    assert "step-00000004.ckpt: No space left on device" in log, log[-2000:]
    assert io.load_checkpoint(latest_checkpoint(small_disk))["global_step"] == 2
    done = [row[0] for row in rows(run / "steps0.jsonl")]
    assert max(done) <= 4  # the step whose save failed, and the one in which that was known; counted from 0
    assert not list(small_disk.glob(".*"))


def test_limit_on_file_size_names_the_file_and_keeps_the_last_checkpoint(tmp_path):
    import resource
    import signal

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    assert save_elsewhere(tmp_path / "a.ckpt", 250_000, preexec_fn=limit).returncode == 0
    done = save_elsewhere(tmp_path / "a.ckpt", 2_000_000, preexec_fn=limit)
    assert done.returncode != 0
    assert f"cannot write checkpoint {tmp_path / 'a.ckpt'}: File too large" in done.stderr
    assert len(io.load_checkpoint(tmp_path / "a.ckpt")["w"]) == 250_000


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="a child gives up root's rights")
def test_closed_folder_stops_the_run(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents):
        parent.chmod(parent.stat().st_mode | 0o555)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"nothing"
        try:
            os.setuid(65534)
            io.save_checkpoint({"w": 1}, folder / "a.ckpt")
        except BaseException as error:
            said = str(error).encode()
        os.write(write, said)
        os._exit(0)
    os.waitpid(child, 0)
    assert f"cannot write checkpoint {folder / 'a.ckpt'}: Permission denied" in os.read(read, 10_000).decode()
    os.close(read)
    os.close(write)
