"""Notes in which order bytes and names reach the disk."""

import os

import pytest


def noted_disk(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A list that grows, from now on, by a row for each `os.fsync` and each `os.replace`, with the file's name."""
    done: list[tuple[str, str]] = []
    sync, replace = os.fsync, os.replace

    def noted_sync(descriptor):
        done.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))
        sync(descriptor)

    def noted_replace(source, target):
        done.append(("rename", os.path.basename(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    return done
