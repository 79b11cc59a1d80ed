"""What a model makes for a prompt, and what is the same for all that make something: heads, prompts and blank
pictures.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers import Conversation, Tokenizer, Tokens
from torch import Tensor

from omniformer.batch import Sample
from omniformer.heads.head import Makes
from omniformer.inputs import sample_of, tokens_of
from omniformer.model import OmniFormer

# Who of our own heads makes what, for somebody who brings another.
_MADE_BY: dict[Makes, str] = {
    "ids": "only a NextTokenHead writes",
    "pictures": "pictures are made by a DenoisingHead",
    "transcripts": "only a CTCHead writes what frames say",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What was said from one point in time of a sound to another.

    Args:
        start: in seconds from the beginning of the sound.
        end: the same.
        text: what was said.
    """

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What a model wrote for one prompt.

    Args:
        input: the prompt's place in the list.
        member: the task that wrote.
        content: the text; or the picture, or the waveform, as the tokenizer makes it of the ids.
        ids: what was written, without the stop id; none for a picture made out of noise, which has no score either.
        tokens: the text of each id by itself, where half a character shows as U+FFFD; none for pictures and sounds.
        log_probs: the model's log-probability of each id, and of the stop id where one ended the answer.
        score: what answers to one prompt are ranked by: the better, the higher.
        ended: whether the model ended the answer; else it reached the most tokens allowed.
        sample_rate: of a waveform, in Hz.
        segments: of a transcript with points in time, what was said when, in order; else none.
    """

    input: str
    member: str
    content: str | Tensor
    ids: tuple[int, ...] = ()
    tokens: tuple[str, ...] = ()
    log_probs: tuple[float, ...] = ()
    score: float | None = None
    ended: bool = True
    sample_rate: int | None = None
    segments: tuple[Segment, ...] = ()

    def to_dict(self, *, log_probs: bool = False) -> dict[str, Any]:
        """The answer as plain JSON values; a picture or a sound only as its ids.

        Args:
            log_probs: include the log-probability of each id, and the ids.
        """
        plain: dict[str, Any] = {"input": self.input, "member": self.member}
        if isinstance(self.content, str):
            plain["text"] = self.content
        plain |= {"score": self.score, "ended": self.ended}
        if self.segments:
            plain["segments"] = [asdict(each) for each in self.segments]
        if log_probs or not isinstance(self.content, str):
            plain["ids"] = list(self.ids)
        if log_probs:
            plain |= {"tokens": list(self.tokens), "log_probs": list(self.log_probs)}
        return plain

    def save(self, path: str | Path) -> Path:
        """Writes the answer as a file: `.txt`, `.png` or `.wav` by its kind.

        Args:
            path: where, without the suffix.

        Returns:
            The path of the file.
        """
        path = Path(path)
        if isinstance(self.content, str):
            path = path.with_name(f"{path.name}.txt")
            path.write_text(self.content, encoding="utf-8")
        elif self.sample_rate is not None:
            import soundfile

            path = path.with_name(f"{path.name}.wav")
            soundfile.write(path, self.content.numpy(), self.sample_rate)
        else:
            from PIL import Image

            path = path.with_name(f"{path.name}.png")
            pixels = self.content.permute(1, 2, 0).numpy()
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)
        return path


def head_making(makes: Makes, model: OmniFormer, head: str) -> Any:
    """The head of a name, of which it is known what it makes.

    Raises:
        ValueError: the model has no such head, or it makes something else.
    """
    found = model.head(head)
    if found.makes != makes:
        raise ValueError(f"head {head!r} is a {type(found).__name__}; {_MADE_BY[makes]}")
    return found


def given_sample(name: str, prompt: Any, given: Mapping[str, Tokenizer], task: str) -> Sample:
    """What a prompt gives a task before it begins to write.

    Args:
        name: of the prompt, for messages and randomness.
        prompt: a raw input; several as a list, or by modality. Nothing, where the task is given nothing.
        given: the tokenizers of what the task is given.
        task: its name.

    Raises:
        ValueError: the prompt is empty and should not be, or the other way round, or cannot be read; names it.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> len(given_sample("prompt 0", "a cat", {"text": ByteTokenizer()}, "paint"))
        5
    """
    empty = prompt is None or (isinstance(prompt, str | list) and not prompt)
    if not given:
        if not empty:
            raise ValueError(f"{name}: {task!r} begins anew and reads no prompt; give an empty one")
        return Sample(id=name, pieces=[])
    if empty:
        raise ValueError(f"{name} is empty; {task!r} answers: give it {' or '.join(given)}, or {{}} for nothing")
    return sample_of(name, prompt, given)


def with_pictures(
    name: str, prompt: Any, begun: Tokens, held: Mapping[str, Tokenizer], tokenizer: Tokenizer
) -> list[Tokens]:
    """What is gone on from, with the pictures that a conversation holds in their places; the last piece is text.

    Args:
        name: of the prompt, for messages.
        prompt: as it was given.
        begun: its text.
        held: the tokenizers of what may stand in it, by modality.
        tokenizer: of the text, which says what stands for it.

    Raises:
        ValueError: there are more or fewer pictures than places, or none can be read, or no text is left to go on from.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> tokenizer = ByteTokenizer()
        >>> len(with_pictures("prompt 0", "a cat", tokenizer("a cat"), {}, tokenizer))
        1
    """
    pictures = prompt.pictures if isinstance(prompt, Conversation) else []
    if pictures and "vision" not in held:
        raise ValueError(f"{name} holds pictures, which this model cannot read; leave them out")
    if not held:
        return [begun]
    tokens = [tokens_of(name, "vision", each, held["vision"]) for each in pictures]
    try:
        pieces = tokenizer.interleave(begun, {"vision": tokens})
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if pieces[-1].modality != begun.modality:
        raise ValueError(f"{name} ends with a picture, behind which the template puts nothing to go on from")
    return pieces


def keyed(samples: Sequence[Sample]) -> list[Sample]:
    """Samples under names made of what is in them: what is drawn for one does not depend on the place that it has in a
    list. The second of two equal ones has a name of its own.

    Args:
        samples: with the tokens of what is given and of what is written already, on the host.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> a, b, again = (Sample(id="", pieces=[ByteTokenizer()(text)]) for text in ("a", "b", "a"))
        >>> [each.id for each in keyed([a, b, again])][::2] == [each.id for each in keyed([a, again])]
        True
    """
    counts: Counter[str] = Counter()
    found = []
    for sample in samples:
        content = hashlib.blake2b(digest_size=16)
        for piece in (*sample.pieces, *sample.answer):
            content.update(f"{piece.modality} {list(piece.values.shape)}".encode())
            for each in (piece.values, piece.positions, piece.edges):
                content.update(b"" if each is None else each.contiguous().numpy().tobytes())
        key = content.hexdigest()
        found.append(replace(sample, id=f"{key} {counts[key]}"))
        counts[key] += 1
    return found


def blank_picture(tokenizer: Any, size: tuple[int, int] | None, task: str) -> Tokens:
    """A dark picture of the size that will be made, as tokens: it says where they lie.

    Args:
        tokenizer: of pictures.
        size: height and width, where the tokenizer does not say.
        task: the name of the task, for messages.

    Raises:
        ValueError: no size is known, or two different ones, or it is below 1 x 1.

    Example:
        >>> from omniformer_tokenizers import PixelTokenizer
        >>> len(blank_picture(PixelTokenizer(channels=1), (2, 3), "paint"))
        6
    """
    own = tokenizer.image_size
    wanted = own if size is None else size
    if wanted is None:
        raise ValueError(f"{task!r} writes pictures of any size; say which with size=(height, width)")
    height, width = wanted
    if own is not None and (height, width) != tuple(own):
        raise ValueError(
            f"{task!r} writes pictures of {own[0]} x {own[1]}; received size={(height, width)}; leave it out"
        )
    if height < 1 or width < 1:
        raise ValueError(f"size={(height, width)} must be at least 1 x 1")
    return tokenizer(torch.zeros(tokenizer.channels, height, width, dtype=torch.uint8))
