"""Real commands of each modality, killed twenty times at random moments, end as those that nobody disturbed."""

import csv
import os
import random
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest
from forked import Forked
from safetensors.torch import load_file
from torn import rows

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]
HERE, REPOSITORY = Path(__file__).parent, Path(__file__).parents[2]
KILLS = int(os.environ.get("OMNIFORMER_KILLS", "20"))
RUN = [
    *("core=tiny", "core.n_layers=1", "core.d_model=16", "core.n_heads=2", "core.dropout=0.1", "callbacks=ema"),
    *("trainer.accelerator=cpu", "trainer.max_epochs=4", "trainer.limit_train_batches=30", "callbacks.progress=null"),
    *("trainer.accumulate_grad_batches=2", "trainer.val_check_interval=10", "trainer.limit_val_batches=1"),
    *("trainer.limit_test_batches=1", "callbacks.recent.every_minutes=0", "allow_targets=[tracing]"),
]
ONE = ["data.num_workers=1", "data.batch_size=8"]
COMMANDS = {
    "vision": (1, ["modality=vision", *ONE]),
    "text": (1, ["modality=text", *ONE]),
    "audio": (1, ["modality=audio", *ONE]),
    "graph": (1, ["modality=graph", *ONE]),
    "all": (1, ["modality=all", "steps_per_epoch=30", "members.vision.data.num_workers=1"]),
    "window": (
        1,
        [
            *("modality=text", "task=classification", "data=table", "data.source.files=FOLDER/rows.csv"),
            *("data.source.columns={text: text, kind: label}", "data.window=64", *ONE),
            *("callbacks.best.monitor=val/accuracy", "callbacks.best.mode=max"),
        ],
    ),
    "stream": (
        1,
        [
            *("modality=text", "task=classification", "data=streamed_table", "data.source.train=FOLDER/rows.csv"),
            *("data.source.columns={text: text, kind: label}", "data.source.labels=['False','True']", "data.window=64"),
            *("data.source.samples_per_epoch=500", "data.source.val=FOLDER/rows.csv", *ONE),
            *("callbacks.best.monitor=val/accuracy", "callbacks.best.mode=max"),
        ],
    ),
    "two ranks": (2, ["modality=vision", "trainer=ddp", *ONE]),
}


def begin(folder: Path, ranks: int, arguments: list[str]) -> list[Forked]:
    """One process for each rank, as torchrun starts them; a run that has been here before goes on."""
    run = folder / "run"
    more = [f"paths.output_dir={run}", f"callbacks.trace={{_target_: tracing.Trace, path: {folder / 'trace'}}}"]
    if list(run.glob("checkpoints/*.ckpt")):
        more.append(f"resume={run}")
    if ranks > 1:
        more.append(f"trainer.devices={ranks}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LOCAL_", "OMNIFORMER_"))}
    environment |= {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def placed(rank: int) -> dict[str, str]:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "GROUP_RANK": 0}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "kill"}
        return {name: str(value) for name, value in place.items()} if ranks > 1 else {}

    return [
        Forked(
            "omniformer.train", [*arguments, *more], folder=folder, log=folder / f"log{rank}.txt",
            environment=environment | placed(rank),
        )
        for rank in range(ranks)
    ]  # fmt: skip


def kill(processes: list[Forked]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def finish(folder: Path, ranks: int, arguments: list[str]) -> None:
    processes = begin(folder, ranks, arguments)
    assert [process.wait(300) for process in processes] == [0] * ranks, (folder / "log0.txt").read_text()[-3000:]


def lines(folder: Path) -> int:
    path = folder / "trace0"
    return path.read_text().count("\n") if path.exists() else 0


def traced(folder: Path, rank: int) -> dict[int, list]:
    """What each batch did; fails if two attempts at the same batch differ."""
    found: dict[int, list] = {}
    for place, *did in rows(folder / f"trace{rank}"):
        assert found.setdefault(place, did) == did, f"batch {place} was repeated differently"
    return found


def validated(folder: Path) -> dict[str, str]:
    """The loss of each validation, by its optimizer step."""
    with (folder / "run" / "metrics.csv").open(newline="") as file:
        return {row["step"]: row["value"] for row in csv.DictReader(file) if row["name"] == "val/loss"}


def same_ends(folder: Path, full: Path) -> None:
    assert validated(folder) == validated(full)
    mine, theirs = (load_file(each / "run" / "model" / "model.safetensors") for each in (folder, full))
    assert mine.keys() == theirs.keys()
    assert all(mine[each].equal(theirs[each]) for each in mine)
    assert not list((folder / "run" / "checkpoints").glob(".*"))


def test_a_command_killed_in_each_validation_does_all_of_them(tmp_path):
    """Also the second and third of one epoch, which begin from checkpoints of a run that was killed before."""
    full, folder = tmp_path / "full", tmp_path / "killed"
    arguments = [*RUN, "modality=vision", *ONE]
    for each in (full, folder):
        each.mkdir()
    finish(full, 1, arguments)
    assert list(validated(full)) == [str(step) for step in range(5, 61, 5)]
    for step in (5, 10, 15, 20, 25):
        harm = f"{{_target_: sabotage.Sabotage, place: validation, at: 0, step: {step}, what: SIGKILL}}"
        (process,) = begin(folder, 1, [*arguments, f"callbacks.harm={harm}", "allow_targets=[tracing,sabotage]"])
        assert process.wait(300) == -signal.SIGKILL, (folder / "log0.txt").read_text()[-3000:]
    finish(folder, 1, arguments)
    assert traced(folder, 0) == traced(full, 0)
    same_ends(folder, full)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_at_random_moments_ends_as_the_undisturbed_one(name, tmp_path):
    (ranks, arguments), places = COMMANDS[name], random.Random(name)
    arguments = [*RUN, *(each.replace("FOLDER", str(tmp_path)) for each in arguments)]
    texts = [f"{'good' if i % 3 else 'bad'} row {i},{i % 3 > 0}" for i in range(600)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,kind", *texts]))
    full, folder = tmp_path / "full", tmp_path / "killed"
    full.mkdir()
    folder.mkdir()
    finish(full, ranks, arguments)
    for _ in range(KILLS):
        processes = begin(folder, ranks, arguments)
        enough, end = lines(folder) + places.randrange(1, 6), time.monotonic() + 240
        while lines(folder) < enough and all(process.poll() is None for process in processes):
            assert time.monotonic() < end, (folder / "log0.txt").read_text()[-3000:]
            time.sleep(0.002)
        time.sleep(places.random() * 0.03)
        assert None in [process.poll() for process in processes], (folder / "log0.txt").read_text()[-3000:]
        kill(processes)
    finish(folder, ranks, arguments)
    for rank in range(ranks):
        did = traced(folder, rank)
        assert did == traced(full, rank)
        assert len(did) == 120
    same_ends(folder, full)
