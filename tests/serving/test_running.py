"""How long connections live: an answer is lost where the server ends one just as its client asks."""

import socket
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from omniformer.serving import running


@contextmanager
def serving(keep_alive):
    """The address of a server that ends connections on which nothing was asked for so many seconds."""
    app, addresses = FastAPI(), []

    @app.get("/")
    async def answer():
        return "yes"

    config = uvicorn.Config(app, log_level="warning", timeout_keep_alive=keep_alive)
    server = running.Server(config, addresses.append)
    thread = threading.Thread(target=server.run, args=([socket.create_server(("127.0.0.1", 0))],))
    thread.start()
    while not addresses:
        assert thread.is_alive()
        time.sleep(0.01)
    yield addresses[0]
    server.should_exit = True
    thread.join(30)


def ask_late(client, seconds):
    """Asks on a connection that is there, so many seconds after the client has seen that it lives."""
    client.get("/")

    def trace(event, info):
        if event == "http11.send_request_headers.started":
            time.sleep(seconds)

    return client.get("/", extensions={"trace": trace})


@pytest.mark.slow
def test_a_request_that_meets_the_end_of_its_connection_has_no_answer():
    with serving(1) as address, httpx.Client(base_url=address) as client, pytest.raises(httpx.TransportError):
        ask_late(client, 2.0)


def test_clients_end_connections_before_a_server_of_ours_does(monkeypatch):
    seen = {}
    with monkeypatch.context() as patch:
        patch.setattr(running, "Server", lambda config, started: seen.update(config=config) or _Stopped())
        assert running.run(FastAPI(), host="127.0.0.1", port=0, seconds=1.0, started=lambda address: None)
    clients = httpx.Client()._transport._pool._keepalive_expiry
    assert clients < 60 < seen["config"].timeout_keep_alive  # 60: proxies, mostly


@pytest.mark.slow
def test_a_server_of_ours_answers_who_asks_late():
    with serving(running.KEEP_ALIVE) as address, httpx.Client(base_url=address) as client:
        assert ask_late(client, 2.0).json() == "yes"


class _Stopped:
    cut = False

    def run(self, sockets):
        for each in sockets:
            each.close()
