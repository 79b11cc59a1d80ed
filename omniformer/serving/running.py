"""A server from its start to a clean stop."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

# Seconds for which a connection waits for the next request. Who asks just as it ends gets no answer, so that it must be
# the client that ends it: httpx does after 5, proxies mostly after 60.
KEEP_ALIVE = 75


class Server(uvicorn.Server):
    """Ends with the answers that it owes, and with a status that says whether all were given.

    Uvicorn by itself ends as if killed by the signal, whatever became of the requests.

    Args:
        config: of uvicorn.
        started: called with the address, once the server listens.
    """

    def __init__(self, config: uvicorn.Config, started: Callable[[str], None]) -> None:
        super().__init__(config)
        self._told = started
        self.cut = False  # whether requests were cut off

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The first signal begins the end, a second one cuts it short; only the main thread hears any."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins the end."""
        self.cut = self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, and says where."""
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            self._told(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers what is owed, as long as may be."""
        await super().shutdown(sockets)
        self.cut = self.cut or bool(self.server_state.tasks)


def run(app: FastAPI, *, host: str, port: int, seconds: float, started: Callable[[str], None]) -> bool:
    """Serves until SIGINT or SIGTERM.

    Args:
        app: the application.
        host: where to listen.
        port: where to listen; 0 takes a free one.
        seconds: how long requests may still take after the signal.
        started: called with the address.

    Returns:
        Whether every request was answered.

    Raises:
        OSError: somebody else listens there.
    """
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise OSError(f"nobody can listen at {host}, port {port}: {error}; give another --port or --host") from error
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=int(seconds) + 1,
        timeout_keep_alive=KEEP_ALIVE, limit_concurrency=1024,
    )  # fmt: skip
    server = Server(config, started)
    server.run(sockets=[listening])
    return not server.cut
