"""Damaged files of every format: a picture or a sound, or a `MediaError` that names the file; nothing else, ever."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import media_fuzz
import pytest

N = int(os.environ.get("OMNIFORMER_FUZZ_FILES", "10000"))


@pytest.mark.parametrize("format", media_fuzz.FORMATS)
def test_damaged_files_are_read_or_refused_by_name(tmp_path, format):
    results = [media_fuzz.outcome(format, index, tmp_path / f"{index}.{format}") for index in range(30)]
    assert set(results) == {"decoded", "refused"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("format", media_fuzz.FORMATS)
def test_ten_thousand_damaged_files_never_kill_the_process(tmp_path, format):
    counts, faults, slowest, megabytes = campaign(format, N, tmp_path)
    print(f"{format}: {dict(counts)}, slowest {slowest:.2f} s, at most {megabytes:.0f} MB")  # shown by pytest -rP
    assert not faults, "\n".join(faults[:20])
    assert counts["decoded"] + counts["refused"] == N


def campaign(format: str, n: int, folder: Path) -> tuple[Counter[str], list[str], float, float]:
    """Reads cases in processes of their own: how many were decoded and refused, what went wrong, seconds and MB.

    A process that dies is told with the case it died of, and the next one begins behind that.
    """
    counts, faults, slowest, megabytes = Counter[str](), [], 0.0, 0.0
    first = 0
    while first < n:
        command = [sys.executable, media_fuzz.__file__, format, str(first), str(n), str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        for line in result.stdout.splitlines():
            row = json.loads(line)
            counts.update({word: row.get(word, 0) for word in ("decoded", "refused", "other")})
            faults += row["faults"]
            slowest, megabytes = max(slowest, row["slowest"]), max(megabytes, row["megabytes"])
            first = row["next"]
        ignored = [line for line in result.stderr.splitlines() if line.startswith("Exception ignored")]
        faults += [f"{format} below {first}: {line}" for line in ignored[:1]]
        if result.returncode:
            left = list(folder.glob(f"{format.lower()} *"))
            if not left:
                raise RuntimeError(f"exit status {result.returncode} before any case: {result.stderr[-2000:]}")
            index = int(left[0].name.split()[1])
            left[0].unlink()
            faults.append(f"{format} {index} ended the process with {result.returncode}: {result.stderr[-2000:]}")
            counts["crashed"] += 1
            first = index + 1
    return counts, faults, slowest, megabytes
