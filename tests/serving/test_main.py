"""The command, and what becomes of requests when it is told to stop."""

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import util
from pathlib import Path

import pytest
from forked import Forked

from omniformer.serving import running
from omniformer.serving.__main__ import main

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def started(folder, tmp_path, *options):
    """A server in a process of its own, and its address."""
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    arguments = [str(folder), "--port", "0", "--device", "cpu", *options]
    server = Forked("omniformer.serving.__main__", arguments, folder=tmp_path, log=log, environment=environment)
    try:
        end = time.monotonic() + 120
        while not (found := re.search(r"serving at (http://\S+?),? ", log.read_text() if log.exists() else "")):
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield server, found[1], log
    finally:
        if server.poll() is None:
            server.kill()
            server.wait(30)


def ask(address, path, body=None):
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}{path}", content, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read().decode()


def waits(address):
    return float(re.search(r"^omniformer_waiting_inputs (\S+)", ask(address, "/metrics"), re.MULTILINE)[1])


@pytest.fixture
def caught(monkeypatch):
    """What would have been run."""
    seen = {}
    monkeypatch.setattr(running, "run", lambda app, **options: seen.update(app=app, **options) or True)
    return seen


def test_it_listens_to_this_machine_alone_and_says_so(folder, caught, capsys):
    main([str(folder), "--max-batch", "3", "--seconds", "7.5"])
    caught["started"]("http://127.0.0.1:8000")
    assert capsys.readouterr().err.endswith("serving at http://127.0.0.1:8000, for this machine alone\n")
    assert (caught["host"], caught["port"], caught["seconds"]) == ("127.0.0.1", 8000, 7.5)


def test_open_to_others_it_says_who_may_ask(folder, caught, capsys, monkeypatch):
    main([str(folder), "--host", "0.0.0.0"])
    caught["started"]("http://0.0.0.0:8000")
    assert "it answers everyone who reaches this machine: lock it with --api-key" in capsys.readouterr().err
    monkeypatch.setenv("OMNIFORMER_API_KEY", "sesame")
    main([str(folder), "--host", "0.0.0.0"])
    caught["started"]("http://0.0.0.0:8000")
    assert "it answers who shows the key" in capsys.readouterr().err


def test_a_missing_library_a_taken_port_and_a_wrong_number_are_told(folder, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SystemExit):
        main([str(folder), "--port", str(other.getsockname()[1])])
    assert "nobody can listen at 127.0.0.1, port" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(folder), "--max-batch", "0"])
    assert "max_batch=0 must be at least 1" in capsys.readouterr().err
    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    with pytest.raises(SystemExit):
        main([str(folder)])
    assert "serving needs uvicorn; install the extra 'serve'" in capsys.readouterr().err


@pytest.mark.faults
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_what_is_asked_before_the_stop_is_answered_whole_and_nothing_after_it(folder, tmp_path, signum):
    asked = {"max_tokens": 400, "temperature": 1.0}
    with started(folder, tmp_path) as (server, address, _), ThreadPoolExecutor(8) as clients:
        expected = [ask(address, "/v1/completions", {**asked, "prompt": f"text {i}"}) for i in range(2)]
        whole = [
            clients.submit(ask, address, "/v1/completions", {**asked, "prompt": f"text {i % 2}"}) for i in range(4)
        ]
        streams = [
            clients.submit(ask, address, "/v1/completions", {**asked, "prompt": f"text {i}", "stream": True})
            for i in range(2)
        ]
        while waits(address) < 2:
            pass
        server.send_signal(signum)
        time.sleep(0.3)
        with pytest.raises(urllib.error.URLError):
            ask(address, "/health")
        texts = [json.loads(each)["choices"][0]["text"] for each in expected]
        assert [json.loads(each.result())["choices"][0]["text"] for each in whole] == texts * 2
        for stream, text in zip(streams, texts, strict=True):
            lines = [line.removeprefix("data: ") for line in stream.result().split("\n\n") if line]
            assert lines[-1] == "[DONE]"
            assert "".join(json.loads(line)["choices"][0]["text"] for line in lines[:-1]) == text
        assert server.wait(60) == 0


@pytest.mark.faults
def test_what_takes_too_long_after_the_stop_is_cut_off_and_the_status_says_so(folder, tmp_path):
    with started(folder, tmp_path, "--seconds", "1", "--max-new-tokens", "100000") as (server, address, log):
        with ThreadPoolExecutor(1) as client:
            body = {"prompt": "text", "max_tokens": 100_000, "min_tokens": 99_000, "stream": True}
            cut = client.submit(ask, address, "/v1/completions", body)
            while waits(address) < 1:
                pass
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 1
            assert cut.exception() is not None or "[DONE]" not in cut.result()
        assert "requests were cut off" in log.read_text()


@pytest.mark.faults
def test_who_comes_too_slowly_is_sent_away(folder, tmp_path):
    with started(folder, tmp_path, "--seconds", "1") as (_, address, _):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as slow:
            head = (
                "POST /v1/predict HTTP/1.1",
                "host: localhost",
                "content-type: application/json",
                "content-length: 100",
            )
            slow.sendall("\r\n".join([*head, "", "{"]).encode())
            assert b" 408 " in slow.recv(1000)
        assert "ok" in ask(address, "/health")
