"""What clients may ask for beside inputs, checked: by name, kind and range; what is not known is refused."""

import json
from typing import Annotated, Any, Literal

from omniformer_tokenizers import Conversation
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from omniformer.serving.work import Wish

Pixels = Annotated[int, Field(ge=1, le=1024)]


def _listed(value: Any) -> Any:
    """A list; of a form, where all fields are texts, one written as JSON, or a single text."""
    if isinstance(value, str) and value.startswith("["):
        value = json.loads(value)
    return [value] if isinstance(value, str) else value


def _only(allowed: Any) -> Any:
    """Refuses what other servers do and this one does not, but for the value that asks for nothing."""

    def check(value: Any) -> Any:
        if value not in (None, allowed):
            raise ValueError(f"is not done here; leave it out, or give {allowed!r}")
        return value

    return AfterValidator(check)


class Asked(BaseModel):
    """Options without those that nobody knows."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Predict(Asked):
    """Of `/v1/predict`."""

    member: str | None = None
    top: Annotated[int, Field(ge=1, le=1000)] = 5


class Embed(Asked):
    """Of `/v1/embeddings`."""

    model: str | None = None
    member: str | None = None
    encoding_format: Literal["float", "base64"] = "float"


class Write(Asked):
    """How something is to be written; see `omniformer.serving.work.Wish`."""

    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    min_p: Annotated[float, Field(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=100)] | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    n: Annotated[int, Field(ge=1, le=8)] | None = None
    presence_penalty: Annotated[float, Field(ge=-100, le=100)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-100, le=100)] | None = None
    stop: Annotated[Annotated[list[str], Field(max_length=16)] | None, BeforeValidator(_listed)] = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None

    def wish(self) -> Wish:
        """The same as the model's own words have it."""
        asked = self.model_dump(include=set(Write.model_fields) - {"max_tokens", "min_tokens", "stop"})
        stop = tuple(self.stop) if self.stop else None
        return Wish(**asked, max_new_tokens=self.max_tokens, min_new_tokens=self.min_tokens, stop=stop)


class Generate(Write):
    """Of `/v1/generate`: also pictures and transcripts."""

    member: str | None = None
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance: Annotated[float, Field(ge=0, le=100)] | None = None
    beam: Annotated[int, Field(ge=1, le=32)] | None = None
    size: Annotated[tuple[Pixels, Pixels] | None, BeforeValidator(_listed)] = None

    def wish(self) -> Wish:
        plain = super().wish()
        own = {"steps": self.steps, "guidance": self.guidance, "beam": self.beam, "size": self.size}
        return Wish(**{name: getattr(plain, name) for name in Wish.__slots__ if name not in own}, **own)


class StreamOptions(Asked):
    """What the last piece of a streamed text says."""

    include_usage: bool = False


class _OpenAI(Write):
    """What completions and chats have in common."""

    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: Annotated[str | None, _only(None)] = None
    logit_bias: Annotated[dict[str, float] | None, _only({})] = None


class Completion(_OpenAI):
    """Of `/v1/completions`."""

    prompt: str | list[str]
    echo: Annotated[bool | None, _only(False)] = None
    suffix: Annotated[str | None, _only(None)] = None
    logprobs: Annotated[int | None, _only(None)] = None
    best_of: Annotated[int | None, _only(1)] = None


class Part(Asked):
    """A piece of a message; pictures and sounds are not read in conversations."""

    type: Literal["text"]
    text: str


class Message(Asked):
    """One turn."""

    role: str
    content: str | list[Part]
    name: Annotated[str | None, _only(None)] = None

    def plain(self) -> dict[str, str]:
        """As a chat template reads it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": text}


class Chat(_OpenAI):
    """Of `/v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: Annotated[bool | None, _only(False)] = None

    def wish(self) -> Wish:
        if self.max_completion_tokens is not None:
            if self.max_tokens is not None:
                raise ValueError("max_tokens and max_completion_tokens say the same; give one of them")
            self.max_tokens = self.max_completion_tokens
        return super().wish()

    def conversation(self) -> Conversation:
        """What is to be answered."""
        return Conversation(messages=[each.plain() for each in self.messages], goes_on=True)
