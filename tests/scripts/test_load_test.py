"""Sixty-four clients at once: every answer comes, and is the one that its request gets alone."""

import asyncio
import importlib.util
import os
import random
import socket
import threading
import time
from pathlib import Path

import pytest
import uvicorn

import omniformer
from omniformer.serving.app import make_app
from omniformer.serving.limits import Limits
from omniformer.serving.running import Server
from omniformer.serving.service import Service

SCRIPT = Path(__file__).parents[2] / "scripts" / "load_test.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("load_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def served(tmp_path):
    """The address of a server of a model of pictures, sounds, graphs and texts."""
    spec = importlib.util.spec_from_file_location("zoo", Path(__file__).parents[1] / "serving" / "conftest.py")
    zoo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(zoo)
    omniformer.save(tmp_path / "zoo", zoo.make_predictor(), recipe=zoo.RECIPE)
    service = Service(omniformer.load(tmp_path / "zoo"), name="zoo", limits=Limits(seconds=600.0))
    addresses = []
    server = Server(uvicorn.Config(make_app(service), log_level="warning", timeout_keep_alive=75), addresses.append)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    while not addresses:
        assert thread.is_alive()
        time.sleep(0.01)
    yield addresses[0]
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive() and not service.engine.alive


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_answer_is_lost_or_mixed_and_memory_is_bounded(script, served):
    found = asyncio.run(script.measure(served, os.getpid(), clients=64, n=5, leave=0.2))
    print(found)  # -s shows the times
    assert (found["lost"], found["mixed"], found["requests"], found["still_waiting"]) == (0, 0, 320, 0)
    assert 30 < found["broken_off"] < 100
    assert found["memory_mb"]["after"] - found["memory_mb"]["before"] < 300


@pytest.mark.parametrize(("kind", "sent"), [("graph", b"CCCO"), ("text", b"text 2")])
def test_a_model_of_molecules_is_asked_of_molecules(script, kind, sent):
    assert script.file_for({"kind": kind, "text": True}, 2, random.Random(0)) == (None, sent)


def test_answers_that_differ_are_seen(script):
    one = {"results": [{"label": "a", "score": 0.5}]}
    assert script.same(one, {"results": [{"label": "a", "score": 0.500001}]})
    assert not script.same(one, {"results": [{"label": "a", "score": 0.51}]})
    assert not script.same(one, {"results": [{"label": "b", "score": 0.5}]})
    assert not script.same("a text", "another") and not script.same([1, 2], [1])
