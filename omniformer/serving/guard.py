"""What every request passes through: who may ask, how large and how slow a request may be, and what is counted."""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omniformer.serving.metrics import Metrics

log = logging.getLogger(__name__)
FAULT = "a fault of the server; its log says more"
OPEN = ("/", "/health")  # without a key: the page, which asks for it, and whether there is a server


class Guard:
    """Stands around an application.

    Args:
        app: the application.
        metrics: counts.
        api_key: what clients must show as `Authorization: Bearer KEY`; None lets all in.
        max_bytes: of a body.
        seconds: in which a body must have come.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, api_key: str | None, max_bytes: int, seconds: float) -> None:
        self.app, self.metrics, self.api_key = app, metrics, api_key
        self.max_bytes, self.seconds = max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        try:
            if (refused := self._refused(scope["path"], headers)) is not None:
                await _answer(noted, *refused)
            else:
                await self.app(scope, self._bounded(receive), noted)
        except ClientDisconnect:
            status = 499  # nobody is there to be answered; as nginx counts it
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.answered(route, status, time.monotonic() - began)

    def _refused(self, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Why a request is not even looked at."""
        if self.api_key is not None and path not in OPEN:
            shown = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(shown.encode(), self.api_key.encode()):
                return 401, "show the key of this server as 'Authorization: Bearer KEY'"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.max_bytes:
            return 413, self._too_large(length)
        return None

    def _too_large(self, n: object) -> str:
        return f"the body has {n} bytes; at most {self.max_bytes} are accepted"

    def _bounded(self, receive: Receive) -> Receive:
        """Receives a body up to the largest size, until the time is over."""
        deadline, n, whole = time.monotonic() + self.seconds, 0, False

        async def bounded() -> Message:
            nonlocal n, whole
            if whole:
                return await receive()  # the client hangs up, some day
            try:
                message = await asyncio.wait_for(receive(), max(deadline - time.monotonic(), 0.001))
            except TimeoutError:
                raise HTTPException(408, f"the body did not come within {self.seconds:g} seconds") from None
            n += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if n > self.max_bytes:
                raise HTTPException(413, self._too_large(f"more than {n - 1}"))
            return message

        return bounded


def error_body(status: int, message: str) -> dict[str, Any]:
    """An error in the form that clients of OpenAI's API read."""
    kinds = {401: "authentication_error", 404: "not_found_error", 503: "server_busy", 500: "server_error"}
    return {"error": {"message": message, "type": kinds.get(status, "invalid_request_error"), "code": status}}


async def _answer(send: Send, status: int, message: str) -> None:
    body = json.dumps(error_body(status, message)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"www-authenticate", b"Bearer")] if status == 401 else [(b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
