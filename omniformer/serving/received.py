"""From a request to inputs of a model: JSON as it is, files through a folder that is gone with the request."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from fastapi import Request
from omniformer_tokenizers import Tokenizer
from omniformer_tokenizers.files import read_text
from starlette.datastructures import UploadFile

from omniformer.inputs import SUFFIXES, reads_text
from omniformer.predictor import Predictor
from omniformer.serving.limits import Limits
from omniformer.serving.totals import check_totals

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,12}")
_CHARACTERS = 32  # of a text for each token that is read at most: more cannot be, and need not be cut into tokens
FILE = "file"


@dataclass(slots=True)
class Received:
    """What a request holds.

    Args:
        named: inputs with their names, or what is wrong with one; files are named by where they lie, as in messages.
        options: all other fields, as they were sent.
        files: how each file is called by its client, by where it lies.
    """

    named: list[tuple[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    files: dict[Path, str] = field(default_factory=dict)

    def told(self, error: object) -> str:
        """A message, or a name, with the client's names of files in the place of ours."""
        said = str(error)
        for path, name in self.files.items():
            said = said.replace(str(path), name)
        return said.replace("; truncate=False refuses them", "").replace(
            "choose one with member=", "name one as member"
        )


class Reader:
    """Reads requests for a model.

    Args:
        predictor: the model.
        limits: how much is read. A text of many more characters than `max_tokens`, or a graph of more nodes, is refused
            at once.
    """

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        every = [predictor.tokenizers, *(member.tokenizers for member in predictor.members.values())]
        self.tokenizers: dict[str, Tokenizer] = {name: one for each in every for name, one in each.items()}
        self.frames = any(one.modality == "video" for one in self.tokenizers.values())
        self.limits, self.max_inputs, self.max_tokens = limits, limits.max_inputs, limits.max_tokens

    @asynccontextmanager
    async def read(self, request: Request, key: str = "inputs") -> AsyncIterator[Received]:
        """The inputs of a request, as long as it is answered.

        JSON has `inputs` (or another key), one or a list: a text, a graph, or what belongs together by modality. A form
        has files: each field `file` is an input of its own; fields named like modalities are one input together.

        Raises:
            ValueError: it holds nothing that could be read, or too much; says what is accepted.
            HTTPException: 413, its pictures or sounds are too much together.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            yield self._of_json(await json_object(request), key)
        elif kind == "multipart/form-data":
            with TemporaryDirectory(prefix="omniformer-") as folder:
                async with request.form(max_files=self.max_inputs, max_fields=64, max_part_size=1 << 24) as form:
                    received = await self._of_form(form.multi_items(), Path(folder))
                # In a thread of its own: the length of an MP3 is known only once all of its frames are passed over.
                await asyncio.to_thread(
                    check_totals,
                    list(received.files),
                    frames=self.frames,
                    max_pixels=self.limits.max_pixels,
                    max_sound_seconds=self.limits.max_sound_seconds,
                )
                yield received
        else:
            raise ValueError(f"received {kind or 'nothing'}; send application/json or multipart/form-data")

    def _of_json(self, body: dict[str, Any], key: str) -> Received:
        if key not in body:
            raise ValueError(f"the body has no {key!r}: a text, a graph, or a list of these")
        inputs = body.pop(key)
        inputs = inputs if isinstance(inputs, list) else [inputs]
        if len(inputs) > self.max_inputs:
            raise ValueError(f"{len(inputs)} inputs; at most {self.max_inputs} are read in one request")
        named = [(f"input {i}", self._plain(f"input {i}", raw)) for i, raw in enumerate(inputs)]
        return Received(named=named, options=body)

    def _plain(self, name: str, raw: Any) -> Any:
        """One input out of JSON, which may never name a file of this machine."""
        if isinstance(raw, str):
            return self.text(name, raw)
        if isinstance(raw, Mapping) and "edges" in raw:
            return self._graph(name, raw)
        if not isinstance(raw, Mapping) or not raw:
            raise ValueError(f"{name} is a {type(raw).__name__}; accepted: a text, a graph, or contents by modality")
        return {self._known(modality): self._content(name, modality, each) for modality, each in raw.items()}

    def _content(self, name: str, modality: str, content: Any) -> Any:
        tokenizer = self.tokenizers[self._known(modality)]
        if isinstance(content, str) and reads_text(tokenizer):
            return self.text(name, content)
        if isinstance(content, Mapping) and "edges" in content:
            return self._graph(name, content)
        if isinstance(content, list) and tokenizer.modality == "series":
            return _numbers(name, content)
        raise ValueError(
            f"{name}: {modality} cannot be read from JSON; upload it as a file, in the form field {modality!r}"
        )

    async def _of_form(self, items: list[tuple[str, Any]], folder: Path) -> Received:
        received, whole = Received(), {}
        for i, (key, value) in enumerate(items):
            content = await self._upload(value, folder / str(i), received) if isinstance(value, UploadFile) else value
            if key == FILE:
                name = str(content) if isinstance(content, Path) else f"{FILE} {i}"
                received.named.append((name, self._tried(name, content)))
            elif key in self.tokenizers:
                if key in whole:
                    raise ValueError(
                        f"{key} comes twice; an input has one content of a modality, send others as 'file'"
                    )
                whole[key] = self._field(key, content)
            elif isinstance(value, UploadFile):
                raise ValueError(f"the file {key!r} is not known; name it {FILE!r} or {', '.join(self.tokenizers)}")
            else:
                received.options[key] = value
        if whole:
            received.named.append(("input", whole))
        if len(received.named) > self.max_inputs:
            raise ValueError(f"{len(received.named)} inputs; at most {self.max_inputs} are read in one request")
        return received

    async def _upload(self, upload: UploadFile, path: Path, received: Received) -> Path:
        """Puts a file where it can be read, under a name of ours with the suffix of its own."""
        own = Path(upload.filename or FILE).name
        suffix = Path(own).suffix
        path = path.with_name(path.name + (suffix.lower() if _SUFFIX.fullmatch(suffix) else ""))
        with path.open("wb") as file:
            while piece := await upload.read(1 << 20):
                file.write(piece)
        received.files[path] = "".join(each for each in own if each.isprintable())[-100:] or FILE
        return path

    def _field(self, modality: str, content: Any) -> Any:
        """A field named like a modality: its file, or its text."""
        if isinstance(content, Path):
            return self._opened(modality, content)
        if not reads_text(self.tokenizers[modality]):
            if content.lstrip().startswith("{"):
                return self._content(modality, modality, _parsed(modality, content))
            raise ValueError(f"{modality} is a text; upload a file")
        return self.text(modality, content)

    def _tried(self, name: str, content: Any) -> Any:
        """One of several files, or why it cannot be read."""
        try:
            return self._opened(name, content)
        except ValueError as error:
            return error

    def _opened(self, name: str, content: Any) -> Any:
        """A file as the model reads it: texts and graphs are looked at first, so that none asks for too much."""
        if not isinstance(content, Path):
            return self.text(name, content)
        if content.suffix in SUFFIXES["text"] and content.stat().st_size > 4 * self.max_tokens * _CHARACTERS:
            raise ValueError(f"{name} is a text of {content.stat().st_size} bytes; give less of it")
        if content.suffix in SUFFIXES["graph"]:
            return self._graph(name, _parsed(name, read_text(content)))
        return content

    def text(self, name: str, text: str) -> str:
        """A text that is not much longer than anything that is read.

        Raises:
            ValueError: it is, or the model reads none.
        """
        if not any(map(reads_text, self.tokenizers.values())):
            raise ValueError(f"{name} is a text; this model takes {', '.join(self.tokenizers)}: upload files in a form")
        if len(text) > (most := self.max_tokens * _CHARACTERS):
            raise ValueError(f"{name} has {len(text)} characters; at most {most} are read here, give less")
        return text

    def _graph(self, name: str, raw: Any) -> Any:
        if not isinstance(raw, Mapping) or "edges" not in raw:
            raise ValueError(f'{name} is no graph; accepted: {{"n_nodes": 3, "edges": [[0, 1], [1, 2]]}}')
        nodes = raw.get("n_nodes", raw.get("nodes"))
        n = nodes if isinstance(nodes, int) else len(nodes) if isinstance(nodes, list) else 0
        if n > self.max_tokens:
            raise ValueError(f"{name} has {n} nodes; at most {self.max_tokens} are read here, give less")
        return dict(raw)

    def _known(self, modality: str) -> str:
        if modality not in self.tokenizers:
            raise ValueError(f"there is no modality {modality!r} here; this model takes {', '.join(self.tokenizers)}")
        return modality


async def json_object(request: Request) -> dict[str, Any]:
    """The object that a request holds.

    Raises:
        ValueError: it holds none.
    """
    body = _parsed("the body", (await request.body()).decode("utf-8"))
    if not isinstance(body, dict):
        raise ValueError(f"the body is a JSON {type(body).__name__}; send an object")
    return body


def _numbers(name: str, rows: list[Any]) -> torch.Tensor:
    try:
        return torch.tensor(rows, dtype=torch.float32)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} has no rows of numbers that are equally long: {error}") from error


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is no JSON: {error}") from error
