"""A checkpoint file is whole or absent, and damage is noticed."""

import errno
import hashlib
import json
import os
import random
import shutil

import pytest
import torch
from noted_disk import noted_disk

from omniformer.training.checkpoint_io import (
    CorruptCheckpointError,
    DurableCheckpointIO,
    latest_checkpoint,
    newest_run,
    remove_leftovers,
    verify,
)

io = DurableCheckpointIO()


def checkpoint(value=1.0):
    return {"global_step": 3, "state_dict": {"w": torch.full((50, 50), value)}, "note": ["a", None, True]}


def test_loaded_equals_saved(tmp_path):
    io.save_checkpoint(checkpoint(2.0), tmp_path / "deep" / "a.ckpt")
    loaded = io.load_checkpoint(tmp_path / "deep" / "a.ckpt")
    torch.testing.assert_close(loaded["state_dict"]["w"], torch.full((50, 50), 2.0), rtol=0, atol=0)
    assert {name: loaded[name] for name in ("global_step", "note")} == {"global_step": 3, "note": ["a", None, True]}


def test_sidecar_states_size_and_sha256_of_the_file(tmp_path):
    path = tmp_path / "a.ckpt"
    io.save_checkpoint(checkpoint(1.0), path)
    io.save_checkpoint(checkpoint(2.0), path)
    (entry,) = json.loads((tmp_path / "a.ckpt.json").read_text())["accepted"]
    content = path.read_bytes()
    assert entry["size"] == len(content)
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()


def test_nothing_else_is_left_in_the_folder(tmp_path):
    io.save_checkpoint(checkpoint(), tmp_path / "a.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "a.ckpt.json"]
    io.remove_checkpoint(tmp_path / "a.ckpt")
    io.remove_checkpoint(tmp_path / "a.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_bit_and_every_truncation_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    io.save_checkpoint(checkpoint(), path)
    good = path.read_bytes()
    places = random.Random(0)
    for i in range(100):
        place = places.randrange(len(good))
        damaged = bytearray(good)
        damaged[place] ^= 1 << places.randrange(8)
        path.write_bytes(bytes(damaged) if i % 2 else good[:place])
        with pytest.raises(CorruptCheckpointError, match=r"a\.ckpt is damaged"):
            io.load_checkpoint(path)
    path.write_bytes(good)
    verify(path)


def test_damaged_newest_falls_back_to_the_one_before(tmp_path):
    for i, name in enumerate(("old", "middle", "new")):
        io.save_checkpoint(checkpoint(float(i)), tmp_path / f"{name}.ckpt")
    assert latest_checkpoint(tmp_path) == tmp_path / "new.ckpt"
    with (tmp_path / "new.ckpt").open("r+b") as file:
        file.seek(3000)
        file.write(b"x")
    with pytest.warns(UserWarning, match=r"new\.ckpt is damaged.*falling back"):
        assert latest_checkpoint(tmp_path) == tmp_path / "middle.ckpt"


def test_newest_is_the_one_saved_last_also_after_a_copy_of_the_folder(tmp_path):
    for name in ("z", "a"):
        io.save_checkpoint(checkpoint(), tmp_path / "run" / "checkpoints" / f"{name}.ckpt")
    shutil.copytree(tmp_path / "run", tmp_path / "copy", copy_function=shutil.copyfile)
    os.utime(tmp_path / "copy" / "checkpoints" / "z.ckpt", (2e9, 2e9))
    assert latest_checkpoint(tmp_path / "copy").name == "a.ckpt"


def test_checkpoint_that_is_named_is_taken_if_it_verifies(tmp_path):
    for name in ("old", "new"):
        io.save_checkpoint(checkpoint(), tmp_path / f"{name}.ckpt")
    assert latest_checkpoint(tmp_path / "old.ckpt").name == "old.ckpt"
    (tmp_path / "old.ckpt").write_bytes(b"x")
    with pytest.raises(CorruptCheckpointError, match=r"old\.ckpt is damaged"):
        latest_checkpoint(tmp_path / "old.ckpt")


def test_folder_without_a_usable_checkpoint_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        latest_checkpoint(tmp_path / "nowhere")
    (tmp_path / "unfinished.ckpt").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="no usable checkpoint"):
        latest_checkpoint(tmp_path)


def test_checkpoint_without_sidecar_loads_with_a_warning(tmp_path):
    torch.save({"a": 1}, tmp_path / "elsewhere.ckpt")
    with pytest.warns(UserWarning, match=r"no elsewhere\.ckpt\.json"):
        assert io.load_checkpoint(tmp_path / "elsewhere.ckpt") == {"a": 1}


def test_damaged_sidecar_is_told(tmp_path):
    io.save_checkpoint(checkpoint(), tmp_path / "a.ckpt")
    (tmp_path / "a.ckpt.json").write_text("{")
    with pytest.raises(CorruptCheckpointError, match=r"a\.ckpt\.json is damaged"):
        io.load_checkpoint(tmp_path / "a.ckpt")


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("evil",))


def test_code_in_a_checkpoint_never_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, tmp_path / "evil.ckpt")
    with pytest.warns(UserWarning, match="no evil"), pytest.raises(CorruptCheckpointError, match="safely"):
        io.load_checkpoint(tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match="weights_only=False"):
        io.load_checkpoint(tmp_path / "evil.ckpt", weights_only=False)
    assert not (tmp_path / "evil").exists()


def test_state_that_could_never_be_loaded_is_refused_when_saved(tmp_path):
    io.save_checkpoint(checkpoint(1.0), tmp_path / "a.ckpt")
    with pytest.raises(TypeError, match=r"a\.ckpt: the state .*Path"):
        io.save_checkpoint(checkpoint() | {"folder": tmp_path}, tmp_path / "a.ckpt")
    assert io.load_checkpoint(tmp_path / "a.ckpt")["state_dict"]["w"][0, 0] == 1.0
    assert remove_leftovers(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_told_with_the_name_of_the_checkpoint(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write checkpoint .*a\.ckpt: Not a directory"):
        DurableCheckpointIO().save_checkpoint({"w": 1}, tmp_path / "file" / "checkpoints" / "a.ckpt")


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_failing_disk_names_the_file_and_leaves_the_old_checkpoint_intact(tmp_path, monkeypatch, call, nth):
    path = tmp_path / "a.ckpt"
    io.save_checkpoint(checkpoint(1.0), path)
    real, calls = getattr(os, call), []

    def failing(*args):
        calls.append(args)
        if len(calls) >= nth:
            raise OSError(errno.EIO, "Input/output error")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        if call == "replace" and nth == 4:  # there are three renames
            io.save_checkpoint(checkpoint(2.0), path)
        else:
            with pytest.raises(OSError, match=r"cannot write checkpoint .*a\.ckpt: Input/output error"):
                io.save_checkpoint(checkpoint(2.0), path)
    assert float(io.load_checkpoint(path)["state_dict"]["w"][0, 0]) in (1.0, 2.0)
    assert remove_leftovers(tmp_path) == []
    io.save_checkpoint(checkpoint(3.0), path)
    assert io.load_checkpoint(path)["state_dict"]["w"][0, 0] == 3.0


def test_checkpoint_verifies_whichever_moment_a_kill_interrupts(tmp_path, monkeypatch):
    """Every state of the folder between two system calls that change it is one that a kill can leave."""
    path = tmp_path / "a.ckpt"
    io.save_checkpoint(checkpoint(1.0), path)
    snapshots = []

    def recording(name):
        real = getattr(os, name)

        def call(*args):
            result = real(*args)
            snapshots.append(shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-{len(snapshots)}"))
            return result

        return call

    with monkeypatch.context() as patch:
        for name in ("replace", "fsync"):
            patch.setattr(os, name, recording(name))
        io.save_checkpoint(checkpoint(2.0), path)
    assert len(snapshots) >= 8
    found = []
    for folder in snapshots:
        found.append(float(io.load_checkpoint(latest_checkpoint(folder))["state_dict"]["w"][0, 0]))
        remove_leftovers(folder)
        io.save_checkpoint(checkpoint(5.0), folder / "a.ckpt")
        assert latest_checkpoint(folder).name == "a.ckpt"
    assert found == sorted(found)
    assert set(found) == {1.0, 2.0}


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(tmp_path):
    io.save_checkpoint(checkpoint(), tmp_path / "a.ckpt")
    (tmp_path / ".b.ckpt.writing").write_bytes(b"half")
    assert remove_leftovers(tmp_path) == [tmp_path / ".b.ckpt.writing"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "a.ckpt.json"]


def test_remote_paths_and_storage_options_are_refused(tmp_path):
    with pytest.raises(OSError, match="local or mounted"):
        io.save_checkpoint(checkpoint(), "s3://bucket/a.ckpt")
    with pytest.raises(TypeError, match="storage_options"):
        io.save_checkpoint(checkpoint(), tmp_path / "a.ckpt", storage_options={"a": 1})
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        io.load_checkpoint(tmp_path / "missing.ckpt")


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot open folders")
@pytest.mark.parametrize("replaces", [False, True])
def test_every_file_and_every_rename_reaches_the_disk_in_order(tmp_path, monkeypatch, replaces):
    """A rename before the bytes, or a sidecar before the checkpoint, would survive a power cut half."""
    path = tmp_path / "a.ckpt"
    if replaces:
        DurableCheckpointIO().save_checkpoint({"x": 1}, path)
    done = noted_disk(monkeypatch)
    DurableCheckpointIO().save_checkpoint({"x": 2}, path)
    folder = ("sync", tmp_path.name)
    sidecar = [("sync", ".a.ckpt.json.writing"), ("rename", "a.ckpt.json"), folder]
    assert done == [("sync", ".a.ckpt.writing"), *sidecar, ("rename", "a.ckpt"), folder, *sidecar]


@pytest.mark.parametrize(
    "content",
    [
        '{"accepted": []}',
        '{"accepted": {}}',
        '{"accepted": null}',
        '{"accepted": [null]}',
        '{"accepted": [{"size": Infinity, "sha256": "", "saved_at": 0}]}',
        '{"accepted": [{"size": 1}]}',
        "[]",
        "[" * 100_000,
        "",
    ],
)
def test_a_sidecar_of_any_other_content_is_damage_and_the_one_before_is_taken(tmp_path, content):
    for name in ("a", "b"):
        DurableCheckpointIO().save_checkpoint({"name": name}, tmp_path / f"{name}.ckpt")
    (tmp_path / "b.ckpt.json").write_text(content)
    with pytest.raises(CorruptCheckpointError, match=r"b.ckpt.json is damaged"):
        verify(tmp_path / "b.ckpt")
    with pytest.warns(UserWarning, match="falling back"):
        assert latest_checkpoint(tmp_path) == tmp_path / "a.ckpt"


def test_the_newest_run_is_that_of_the_newest_whole_checkpoint(tmp_path):
    for run in ("a", "b", "c"):
        DurableCheckpointIO().save_checkpoint({"run": run}, tmp_path / run / "checkpoints" / "step-1.ckpt")
    (tmp_path / "c" / "checkpoints" / "step-1.ckpt").write_bytes(b"torn")
    (tmp_path / "d").mkdir()
    with pytest.warns(UserWarning, match="is damaged"):
        assert newest_run(sorted(tmp_path.iterdir())) == tmp_path / "b"
    assert newest_run([tmp_path / "d", tmp_path / "none"]) is None
