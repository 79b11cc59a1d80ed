"""The endpoints that clients of OpenAI's API know: completions, chats, embeddings, models."""

import base64
import json
import struct
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from omniformer.serving.about import chats
from omniformer.serving.asked import Chat, Completion, Embed
from omniformer.serving.guard import FAULT
from omniformer.serving.service import Pieces, Service
from omniformer.serving.work import Embedding, Made, Writing


def routes(service: Service) -> APIRouter:
    """The endpoints of a service; conversations only where the model has a chat template."""
    router = APIRouter(prefix="/v1")

    @router.get("/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": service.name, "object": "model", "owned_by": "omniformer"}]}

    @router.post("/embeddings")
    async def embeddings(request: Request) -> dict[str, Any]:
        return await _embedded(service, request)

    @router.post("/completions", response_model=None)
    async def completions(asked: Completion) -> dict[str, Any] | StreamingResponse:
        _check_model(service, asked.model)
        prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        _check_prompts(service, prompts)
        work = service.writing(None, asked.wish())
        if asked.stream:
            return await _streamed(service, asked, work, prompts, _Completion())
        return await _written(service, work, prompts, _Completion())

    if chats(service.predictor):

        @router.post("/chat/completions", response_model=None)
        async def chat(asked: Chat) -> dict[str, Any] | StreamingResponse:
            _check_model(service, asked.model)
            for message in asked.messages:
                service.reader.text("the conversation", message.plain()["content"])
            work, talk = service.writing(None, asked.wish(), usual=True), [asked.conversation()]
            if asked.stream:
                return await _streamed(service, asked, work, talk, _Chat())
            return await _written(service, work, talk, _Chat())

    return router


class _Completion:
    """How a text is told as a completion."""

    kind = chunk = "text_completion"
    prefix = "cmpl"

    def whole(self, text: str) -> dict[str, Any]:
        return {"text": text, "logprobs": None}

    def piece(self, text: str | None) -> dict[str, Any]:
        return {"text": text or "", "logprobs": None}


class _Chat:
    """How a text is told as the next message of a conversation."""

    kind, chunk = "chat.completion", "chat.completion.chunk"
    prefix = "chatcmpl"

    def whole(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}, "logprobs": None}

    def piece(self, text: str | None) -> dict[str, Any]:
        return {"delta": {} if text is None else {"role": "assistant", "content": text}, "logprobs": None}


def _head(service: Service, form: _Completion | _Chat, kind: str) -> dict[str, Any]:
    name = f"{form.prefix}-{uuid.uuid4().hex}"
    return {"id": name, "object": kind, "created": int(time.time()), "model": service.name}


async def _written(service: Service, work: Writing, prompts: list[Any], form: _Completion | _Chat) -> dict[str, Any]:
    """The answers to prompts, once they are whole."""
    results = await service.results(work, [(f"prompt {i}", prompt) for i, prompt in enumerate(prompts)])
    choices, read, written = [], 0, 0
    for result in results:
        if isinstance(result, BaseException):
            raise result
        assert isinstance(result, Made)
        read += result.read
        for answer in result.answers:
            if not isinstance(answer.content, str):
                raise ValueError("this model writes no text; ask /v1/generate")
            written += len(answer.ids)
            end = {"index": len(choices), "finish_reason": _reason(answer.ended)}
            choices.append({**form.whole(answer.content), **end})
    service.metrics.wrote(written)
    return {**_head(service, form, form.kind), "choices": choices, "usage": _usage(read, written)}


async def _streamed(
    service: Service, asked: Completion | Chat, work: Writing, prompts: list[Any], form: _Completion | _Chat
) -> StreamingResponse:
    """One answer, piece by piece; what is wrong with the prompt is told before the first."""
    if len(prompts) != 1 or (asked.n or 1) != 1:
        raise ValueError("a text is streamed for one prompt with n=1; ask for more without stream")
    opened = service.pieces(work, "prompt 0", prompts[0])
    pieces = await opened.__aenter__()
    try:
        first = await pieces.next()
    except BaseException:
        await opened.__aexit__(None, None, None)
        raise

    async def events() -> AsyncIterator[str]:
        async for event in _events(service, asked, pieces, first, form):
            yield f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n"

    return _Stream(opened, events())


class _Stream(StreamingResponse):
    """A text on its way; its writing ends with it, also where the client has gone before the first piece was sent."""

    def __init__(self, opened: AbstractAsyncContextManager[Pieces], events: AsyncIterator[str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._opened.__aexit__(None, None, None)


async def _events(
    service: Service, asked: Completion | Chat, pieces: Pieces, first: str | None, form: _Completion | _Chat
) -> AsyncIterator[dict[str, Any] | str]:
    head, piece = _head(service, form, form.chunk), first
    try:
        while piece is not None:
            yield {**head, "choices": [{"index": 0, **form.piece(piece), "finish_reason": None}]}
            piece = await pieces.next()
    except (ValueError, TimeoutError) as error:
        yield {"error": {"message": str(error), "type": "server_error", "code": 500}}
        return
    except Exception:  # a stream that just stops would look like a lost connection
        yield {"error": {"message": FAULT, "type": "server_error", "code": 500}}
        return
    whole = pieces.whole
    assert whole is not None
    service.metrics.wrote(len(whole.ids))
    yield {**head, "choices": [{"index": 0, **form.piece(None), "finish_reason": _reason(whole.ended)}]}
    if asked.stream_options is not None and asked.stream_options.include_usage:
        yield {**head, "choices": [], "usage": _usage(whole.read, len(whole.ids))}
    yield "[DONE]"


async def _embedded(service: Service, request: Request) -> dict[str, Any]:
    """The vectors of inputs; as text in base 64 where that is asked for, which clients do to save room."""
    async with service.reader.read(request, key="input") as received:
        asked = Embed(**received.options)
        _check_model(service, asked.model)
        if not received.named:
            raise ValueError("there is no input")
        results = await service.results(Embedding(member=asked.member), received.named)
        for each in results:
            if isinstance(each, Exception):
                raise type(each)(received.told(each)) if isinstance(each, ValueError) else each
    rows = [each.tolist() for each in results]
    vectors = [_packed(row) if asked.encoding_format == "base64" else row for row in rows]
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return {"object": "list", "model": service.name, "data": data}


def _packed(row: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode()


def _check_model(service: Service, name: str | None) -> None:
    if name not in (None, service.name):
        raise HTTPException(404, f"there is no model {name!r} here, only {service.name!r}")


def _check_prompts(service: Service, prompts: list[str]) -> None:
    if not 0 < len(prompts) <= service.limits.max_inputs:
        raise ValueError(f"{len(prompts)} prompts; give 1 to {service.limits.max_inputs}")
    for i, prompt in enumerate(prompts):
        service.reader.text(f"prompt {i}", prompt)


def _reason(ended: bool) -> str:
    return "stop" if ended else "length"


def _usage(read: int, written: int) -> dict[str, int]:
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
