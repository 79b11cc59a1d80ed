"""Asks a server many things at once: no answer is lost or mixed, and how long answers take beside one by one.

    uv run python scripts/load_test.py outputs/all/latest                       # serves it, and asks it
    uv run python scripts/load_test.py outputs/all/latest --clients 64 --requests 20 --json found.json
    uv run python scripts/load_test.py outputs/all/latest --leave 0.2           # a fifth of the requests is broken off

Every request is asked alone first, one after the other; then all clients ask theirs at once, in an order of their own.
Each answer must be the one that was given alone, whoever else hangs up; in the end nothing may wait any more. Of the
memory of the server, the most is told, before and after.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

Request = dict[str, Any]
_SECONDS = 600.0  # a slow machine answers late, which is another thing than an answer that is lost


def main(arguments: list[str] | None = None) -> None:
    """Serves, asks, compares and tells.

    Raises:
        SystemExit: an answer was lost or is another one's.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the folder of a model")
    parser.add_argument("--clients", type=int, default=64, help="that ask at once (default: 64)")
    parser.add_argument("--requests", type=int, default=10, help="of each client (default: 10)")
    parser.add_argument("--leave", type=float, default=0.0, help="share of requests that their client breaks off")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the numbers here")
    given = parser.parse_args(arguments)
    command = [
        sys.executable,
        "-m",
        "omniformer",
        "serve",
        given.run,
        "--port",
        "0",
        "--max-waiting",
        str(4 * given.clients),
        "--seconds",
        str(_SECONDS),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = address_of(server)
            # What is said later is passed on: a pipe that nobody empties would hold the server up.
            threading.Thread(target=_pass_on, args=(server,), daemon=True).start()
            found = asyncio.run(measure(address, server.pid, given.clients, given.requests, given.leave))
        finally:
            server.terminate()
    found["status"] = server.wait()
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    if found["lost"] or found["mixed"] or found["still_waiting"] or found["status"]:
        raise SystemExit(1)


def address_of(server: "subprocess.Popen[str]") -> str:
    """Where a server that begins listens.

    Raises:
        RuntimeError: it ends instead; holds what it said.
    """
    said = ""
    assert server.stderr is not None
    for line in server.stderr:
        said += line
        if address := re.search(r"serving at (http://[^\s,]+)", line):
            return address[1]
    raise RuntimeError(said)


def _pass_on(server: "subprocess.Popen[str]") -> None:
    assert server.stderr is not None
    for line in server.stderr:
        sys.stderr.write(line)


async def measure(address: str, pid: int, clients: int, n: int, leave: float = 0.0) -> dict[str, Any]:
    """Asks everything alone, then all at once.

    Args:
        address: of the server.
        pid: of its process, for its memory.
        clients: that ask at once.
        n: requests of each.
        leave: share of these that their client breaks off, before there can be an answer or while it comes.
    """
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=_SECONDS, limits=limits) as http:
        kinds = requests_for((await http.get("/v1/about")).json(), random.Random(0))
        alone = [await asked(http, request) for request in kinds]  # once, so that everything is loaded
        alone = [await asked(http, request) for request in kinds]
        before = memory(pid)
        orders = [_order(random.Random(client), len(kinds), n, leave) for client in range(clients)]
        began = time.perf_counter()
        rows = await asyncio.gather(*(one_by_one(http, kinds, order) for order in orders))
        seconds = time.perf_counter() - began
        waiting = await still_waiting(http)
    asked_for = [alone[i] for order in orders for i, _ in order]
    every = list(zip(asked_for, itertools.chain.from_iterable(rows), strict=True))
    pairs = [(expected, row) for expected, row in every if row is not None]
    lost = sum(row[0] is None for _, row in pairs)
    return {
        "clients": clients,
        "requests": len(every),
        "broken_off": len(every) - len(pairs),
        "kinds": len(kinds),
        "lost": lost,
        "mixed": sum(row[0] is not None and not same(expected[0], row[0]) for expected, row in pairs),
        "still_waiting": waiting,
        "alone": times([row[1] for row in alone]),
        "at_once": times([row[1] for _, row in pairs]),
        "requests_per_second": {
            "alone": round(len(alone) / sum(row[1] for row in alone), 1),
            "at_once": round(len(every) / seconds, 1),
        },
        "memory_mb": {"before": before, "after": memory(pid)},
    }


def requests_for(about: dict[str, Any], draws: random.Random, each: int = 8) -> list[Request]:
    """Requests of every kind that a model takes, several of each, all different; some of them streamed."""
    found: list[Request] = []
    for task in about["tasks"]:
        for i in range(each):
            if task["goes_on"]:
                body = {"prompt": f"number {i}", "max_tokens": 12, "stream": i % 2 == 0}
                found.append({"url": "/v1/completions", "json": body})
                found.append({"url": "/v1/embeddings", "json": {"input": f"number {i}"}})
                continue
            files = [(part["name"], file_for(part, i, draws)) for part in task["takes"]]
            path = "/v1/generate" if task["does"] == "write" else "/v1/predict"
            found.append({"url": path, "files": [*files, ("member", (None, task["name"]))]})
    return found


def file_for(part: dict[str, Any], i: int, draws: random.Random) -> tuple[str | None, bytes]:
    """A small content of a modality."""
    import io

    import soundfile

    numbers, file = np.random.default_rng(i), io.BytesIO()
    if part["text"]:
        return None, ("C" * (i + 1) + "O" if part["kind"] == "graph" else f"text {i}").encode()  # a molecule in SMILES
    if part["kind"] == "graph":
        n = draws.randint(2, 7)
        edges = [[a, b] for a in range(n) for b in range(a) if draws.random() < 0.5]
        return f"{i}.json", json.dumps({"n_nodes": n, "edges": edges}).encode()
    if part["kind"] == "audio":
        soundfile.write(file, numbers.normal(0, 0.1, 8000 + 500 * i), 8000, format="WAV")
        return f"{i}.wav", file.getvalue()
    side = 8 + 4 * i
    Image.fromarray(numbers.integers(0, 256, (side, side), dtype=np.uint8)).save(file, "PNG")
    return f"{i}.png", file.getvalue()


def _order(draws: random.Random, kinds: int, n: int, leave: float) -> list[tuple[int, float | None]]:
    """The requests of one client, and after how many seconds each is broken off; None of those that are waited for."""
    return [(draws.randrange(kinds), draws.uniform(0, 1) if draws.random() < leave else None) for _ in range(n)]


async def one_by_one(
    http: httpx.AsyncClient, kinds: list[Request], order: list[tuple[int, float | None]]
) -> list[tuple[Any, float] | None]:
    """The answers of one client; None for what it breaks off itself."""
    rows: list[tuple[Any, float] | None] = []
    for i, patience in order:
        if patience is None:
            rows.append(await asked(http, kinds[i]))
            continue
        rows.append(None)
        with contextlib.suppress(TimeoutError, httpx.HTTPError):
            await asyncio.wait_for(http.post(**kinds[i]), patience)
    return rows


async def still_waiting(http: httpx.AsyncClient, seconds: float = 60.0) -> int:
    """What still waits for the model once everybody has gone, after some patience."""
    for _ in range(int(seconds * 2)):
        found = re.search(r"^omniformer_waiting_inputs (\S+)", (await http.get("/metrics")).text, re.MULTILINE)
        assert found is not None
        if float(found[1]) == 0:
            return 0
        await asyncio.sleep(0.5)
    return int(float(found[1]))


async def asked(http: httpx.AsyncClient, request: Request) -> tuple[Any, float]:
    """What is answered, without what differs each time, None where nothing is; and after how many seconds."""
    began = time.perf_counter()
    try:
        answer = await http.post(**request)
        content = told(answer) if answer.status_code == 200 else None
        reason = f"{request['url']}: {answer.status_code} {answer.text[-200:]}"
    except httpx.HTTPError as error:
        content, reason = None, f"{request['url']}: {error!r}"
    if content is None:
        print(reason, file=sys.stderr)
    return content, time.perf_counter() - began


def told(answer: httpx.Response) -> Any:
    """What an answer says: the text of a stream, or the JSON."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        if lines[-1] != "[DONE]":
            return None
        return "".join(json.loads(line)["choices"][0]["text"] for line in lines[:-1])
    body = answer.json()
    return {key: value for key, value in body.items() if key not in ("id", "created")}


def same(one: Any, other: Any) -> bool:
    """Whether two answers are the same, but for how numbers are rounded in batches of another size."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-4 * max(1.0, abs(one))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def times(seconds: list[float]) -> dict[str, float]:
    """The middle and the slow end, in milliseconds."""
    return {f"p{q}_ms": round(float(np.percentile(seconds, q)) * 1000, 1) for q in (50, 99)}


def memory(pid: int) -> int | None:
    """The most memory that a process had so far, in MB; None where the system does not say."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        return None
    return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) // 1024


if __name__ == "__main__":
    main()
