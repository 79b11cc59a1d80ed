"""The data of a run, as the model that it begins from is used to them: its tokenizers, its names, its lengths."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from omniformer.config import ConfigError
from omniformer.data.module import OmniDataModule
from omniformer.data.stream import Stream
from omniformer.finetuning.begin import Beginning
from omniformer.pretrained import Family

_TEXT, _SOURCE = "text", "source"


def take_tokenizers(data: OmniDataModule, beginning: Beginning) -> None:
    """Puts tokenizers of the beginning in the place of the run's: weights mean nothing with other ids.

    Those of a published model take the place of any other of the same modality; those of a run that would have to be
    fitted anew give way where the class is the same.

    Raises:
        ValueError: the published model reads a modality that its folder holds no tokenizer for.
    """
    saved = beginning.tokenizers()
    for name, mine in data.tokenizers.items():
        for ours, theirs in data.streams[name].given_as.items():
            mine[theirs] = mine[ours]  # until the published one takes its place
            if not _holds(data.streams[name], ours):
                del mine[ours]
        for modality, tokenizer in mine.items():
            same = [other for other_name, other in saved if other_name == modality]
            if not beginning.published:
                same = [other for other in same if type(other) is type(tokenizer) and not tokenizer.fitted]
            elif modality in beginning.recipe["embedders"] and not same:
                raise ValueError(
                    f"{beginning.source} holds no tokenizer of {modality}, without which its weights mean nothing; "
                    "copy the tokenizer's files beside the weights"
                )
            if same:
                mine[modality] = same[0]
                rank_zero_info(f"{name}: the tokenizer of {modality} is that of {beginning.source}")


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


def _holds(stream: Stream, modality: str) -> bool:
    """Whether samples have such pieces, given or to be written, under the names that the model knows."""
    first = next(iter(stream.raws("train")), None)
    return first is None or modality in first.contents or modality in first.answer
