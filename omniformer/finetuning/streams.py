"""How data are fed to a published model: under its names, and none longer than it can read."""

from collections.abc import Mapping
from typing import Any

from omniformer.config import ConfigError
from omniformer.data.module import OmniDataModule
from omniformer.data.stream import Stream
from omniformer.pretrained import Family

_TEXT, _SOURCE = "text", "source"


def suit(config: Mapping[str, Any], data: OmniDataModule, family: Family) -> None:
    """Feeds a published model as it was: texts under the name that its encoder knows them by, and none too long.

    Single texts are cut, longer pieces of running text refused. A model that reads texts otherwise than it writes them
    (BART, Marian) is given them as what they are for it, answered or not.

    Args:
        config: the configuration of the run.
        data: its data, whose streams are changed.
        family: of the model.

    Raises:
        ConfigError: pieces of running text are to be longer; or texts that are arranged in a way of their own would
            not reach the encoder. Names the key and what to do.
    """
    most, problems = family.max_seq_len, []
    for name, stream in data.streams.items():
        path = f"members.{name}." if config.get("members") else ""
        if family.given == (_SOURCE,) and _TEXT in data.tokenizers[name]:
            if stream.arrange is not None:
                problems.append(
                    f"{path}data.arrange makes texts that this model would read as if it had written them; leave it "
                    "out, so that what is given reaches its encoder"
                )
            elif _gives_text(stream):
                stream.given_as = {_TEXT: _SOURCE}
        if most is None:
            continue
        if stream.arrange is None:
            stream.max_tokens = min(most, stream.max_tokens or most)
        for key in ("seq_len", "max_tokens"):
            length = getattr(stream.arrange, key, None)
            if isinstance(length, int) and length > most:
                problems.append(
                    f"{path}data.arrange.{key}={length} is more than the {most} tokens that the model can read; make "
                    f"it at most {most}"
                )
    if problems:
        raise ConfigError(problems)


def _gives_text(stream: Stream) -> bool:
    """Whether a data set gives texts, beside those that are to be written."""
    first = next(iter(stream.raws("train")), None)
    return first is not None and _TEXT in first.contents and (stream.answer != _TEXT or _TEXT in first.answer)


def holds(stream: Stream, modality: str) -> bool:
    """Whether samples have such pieces, given or to be written, under the names that the model knows."""
    first = next(iter(stream.raws("train")), None)
    return first is None or modality in first.contents or modality in first.answer
