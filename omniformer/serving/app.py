"""The application: endpoints, limits around them, and the page to try a model in."""

import base64
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from omniformer.generation.answer import Answer
from omniformer.serving.about import about, chats
from omniformer.serving.asked import Generate, Predict
from omniformer.serving.engine import BusyError
from omniformer.serving.guard import FAULT, Guard, error_body
from omniformer.serving.openai import routes
from omniformer.serving.received import Received
from omniformer.serving.service import Service
from omniformer.serving.work import Made, Predicting, Work

log = logging.getLogger(__name__)
PAGE = Path(__file__).with_name("page.html")
LOCAL = ("127.0.0.1", "localhost", "[::1]", "::1")
_KINDS = {".png": "image/png", ".wav": "audio/wav"}


def make_app(service: Service, *, api_key: str | None = None, hosts: tuple[str, ...] = ("*",)) -> FastAPI:
    """The application of a service.

    Args:
        service: the model.
        api_key: what clients must show; None lets all in.
        hosts: by which names clients may ask for it: those of this machine alone where it listens to no other, so that
            no page of a stranger in a browser of this machine reaches it by a name of its own.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.engine.close(service.limits.seconds)

    app = FastAPI(title="OmniFormer", lifespan=life, docs_url=None, redoc_url=None)
    app.include_router(routes(service))
    _own_routes(app, service, api_key is not None)
    _handlers(app)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(
        Guard,
        metrics=service.metrics,
        api_key=api_key,
        max_bytes=service.limits.max_bytes,
        seconds=service.limits.seconds,
    )
    return app


def _own_routes(app: FastAPI, service: Service, locked: bool) -> None:
    @app.get("/health", response_model=None)
    async def health() -> dict[str, str] | JSONResponse:
        if service.engine.alive:
            return {"status": "ok", "model": service.name}
        return JSONResponse({"status": "ending", "model": service.name}, 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/about")
    async def told() -> dict[str, Any]:
        talks = chats(service.predictor)
        most = {"max_bytes": service.limits.max_bytes, "max_new_tokens": service.limits.max_new_tokens}
        return {"name": service.name, "tasks": about(service.predictor), "chat": talks, "limits": most}

    @app.post("/v1/predict")
    async def predict(request: Request) -> JSONResponse:
        async with service.reader.read(request) as received:
            asked = Predict(**received.options)
            return await _answered(service, Predicting(member=asked.member, top=asked.top), received, _predicted)

    @app.post("/v1/generate")
    async def generate(request: Request) -> JSONResponse:
        async with service.reader.read(request) as received:
            asked = Generate(**received.options)
            received.named = received.named or [("prompt", "")]
            return await _answered(service, service.writing(asked.member, asked.wish()), received, _generated)

    @app.get("/", response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        text = PAGE.read_text(encoding="utf-8").replace("NONCE", nonce).replace("LOCKED", str(locked).lower())
        allowed = f"script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src blob: data:; media-src blob: data:"
        policy = f"default-src 'none'; {allowed}; connect-src 'self'; base-uri 'none'; form-action 'none'"
        return HTMLResponse(
            text,
            headers={
                "content-security-policy": f"{policy}; frame-ancestors 'none'",
                "x-content-type-options": "nosniff",
                "referrer-policy": "no-referrer",
                "cache-control": "no-store",
            },
        )


async def _answered(service: Service, work: Work[Any], received: Received, told: Any) -> JSONResponse:
    """A result for each input, or what is wrong with it; a status of its own where nothing could be read."""
    if not received.named:
        raise ValueError("there is no input; send JSON with 'inputs', or files in a form")
    results = await service.results(work, received.named)
    rows: list[dict[str, Any]] = []
    for (name, _), result in zip(received.named, results, strict=True):
        row = {"input": received.told(name)}
        if isinstance(result, ValueError | OSError):
            rows.append(row | {"error": received.told(result)})
        elif isinstance(result, BaseException):
            raise result
        else:
            rows.append(row | told(service, result))
    return JSONResponse({"results": rows}, 422 if all("error" in row for row in rows) else 200)


def _predicted(service: Service, said: list[Any]) -> dict[str, Any]:
    return {"predictions": [{key: cell for key, cell in each.to_dict().items() if key != "input"} for each in said]}


def _generated(service: Service, made: Made) -> dict[str, Any]:
    service.metrics.wrote(sum(len(answer.ids) for answer in made.answers if isinstance(answer.content, str)))
    return {"answers": [_shown(answer) for answer in made.answers]}


def _shown(answer: Answer) -> dict[str, Any]:
    """A text as it is; a picture or a sound as the file that it would be."""
    plain = {"member": answer.member, "score": answer.score, "ended": answer.ended}
    if isinstance(answer.content, str):
        return plain | {"text": answer.content}
    with TemporaryDirectory(prefix="omniformer-") as folder:
        path = answer.save(Path(folder) / "answer")
        content = base64.b64encode(path.read_bytes()).decode()
    return plain | {"file": f"data:{_KINDS[path.suffix]};base64,{content}"}


def _handlers(app: FastAPI) -> None:
    """What is told of each kind of error, and with which status."""

    def answered(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse(error_body(status, message), status, headers)

    @app.exception_handler(AnyHTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return answered(
            error.status_code, str(error.detail), {"connection": "close"} if error.status_code in (408, 413) else None
        )

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(ValidationError)
    async def invalid(request: Request, error: Any) -> JSONResponse:
        told = [(".".join(str(each) for each in one["loc"] if each != "body"), one["msg"]) for one in error.errors()]
        return answered(400, "; ".join(f"{key}: {said}" if key else said for key, said in told))

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: Exception) -> JSONResponse:
        return answered(503, str(error), {"retry-after": "1"})

    @app.exception_handler(TimeoutError)
    async def late(request: Request, error: Exception) -> JSONResponse:
        return answered(504, str(error))

    @app.exception_handler(ValueError)
    async def wrong(request: Request, error: Exception) -> JSONResponse:
        return answered(400, str(error))

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> JSONResponse:
        return answered(500, FAULT)
