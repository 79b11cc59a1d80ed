"""A task that writes down what frames say, with its tokenizers: sounds in, texts out."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer

from omniformer.batch import Sample, collate
from omniformer.generation.answer import Answer, given_sample, head_making, keyed
from omniformer.generation.ctc import best_path, prefix_beam
from omniformer.inputs import listed
from omniformer.inputs.member import Member
from omniformer.model import OmniFormer


class Transcriber:
    """One task of a model that was trained by connectionist temporal classification: each frame says an id, or nothing.

    Args:
        model: in evaluation mode.
        head: the name of a head that makes transcripts, such as `CTCHead`.
        tokenizers: by modality.
        given: the modalities whose tokens are the frames; the one that is left of `tokenizers` is what is written.

    Raises:
        ValueError: the head is of another kind, or it is not clear what it writes, or the tokenizer has other ids.

    Example:
        >>> from omniformer_tokenizers import CharacterTokenizer, SpectrogramTokenizer
        >>> from omniformer.core import Transformer
        >>> from omniformer.embedders import VectorEmbedder
        >>> from omniformer.heads import CTCHead
        >>> sound, text = SpectrogramTokenizer(sample_rate=8000, n_mels=8), CharacterTokenizer().fit(["one two"])
        >>> model = OmniFormer(
        ...     core=Transformer(d_model=16, n_layers=1, n_heads=2),
        ...     embedders={"audio": VectorEmbedder(d_model=16, features=sound.facts["features"])},
        ...     heads={"speech": CTCHead(d_model=16, vocab_size=text.facts["vocab_size"])},
        ... )
        >>> transcriber = Transcriber(model, "speech", tokenizers={"audio": sound, "text": text}, given=["audio"])
        >>> ((answer,),) = transcriber.write([torch.zeros(4000)])
        >>> type(answer.content)
        <class 'str'>
    """

    writes_text = True

    def __init__(
        self, model: OmniFormer, head: str, *, tokenizers: Mapping[str, Tokenizer], given: Sequence[str]
    ) -> None:
        reader = head_making("transcripts", model, head)
        left = [name for name in tokenizers if name not in given]
        if len(left) != 1 or not given:
            raise ValueError(f"{head!r} writes one modality; of {', '.join(tokenizers)} say which are given")
        self.model, self.head, self.modality, self.blank = model, head, left[0], reader.blank
        self.tokenizer = tokenizers[self.modality]
        if self.tokenizer.facts.get("vocab_size") != reader.vocab_size:
            raise ValueError(
                f"{head!r} writes {reader.vocab_size} ids, its tokenizer of {self.modality!r} has "
                f"{self.tokenizer.facts.get('vocab_size', 'none')}; take the one it was trained with"
            )
        self.given = {name: tokenizers[name] for name in given}

    @classmethod
    def of(cls, model: OmniFormer, task: str, member: Member) -> "Transcriber":
        """The transcriber of a task of a trained model."""
        return cls(model, task, tokenizers=member.tokenizers, given=member.given)

    def write(self, prompts: Sequence[Any], *, beam: int = 1, batch_size: int = 16) -> list[list[Answer]]:
        """What is said in each prompt, one answer each.

        Args:
            prompts: what the task is given, as for `Writer.write`.
            beam: how many beginnings the search for the text keeps; 1 takes the best id of each frame.
            batch_size: prompts in one pass; answers do not depend on it.

        Raises:
            ValueError: a prompt is empty or cannot be read, or a number is below 1.
        """
        if batch_size < 1 or beam < 1:
            raise ValueError(f"batch_size={batch_size} and beam={beam} must be at least 1")
        samples = self._given(prompts)
        chunks = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]
        return [[answer] for chunk in chunks for answer in self.transcribe(chunk, beam=beam)]

    def read(self, prompts: Sequence[Any]) -> list[Sample]:
        """Prompts as `write` reads them, see `Writer.read`."""
        return keyed(self._given(prompts))

    def _given(self, prompts: Sequence[Any]) -> list[Sample]:
        return [given_sample(f"prompt {i}", each, self.given, self.head) for i, each in enumerate(listed(prompts))]

    @torch.inference_mode()
    def transcribe(self, samples: Sequence[Sample], *, beam: int = 1) -> list[Answer]:
        """What is said in each sample, in one pass over all of them.

        Args:
            samples: with the tokens of what the task is given.
            beam: as for `write`.
        """
        x, layout = self.model.encode(collate(samples).to(next(self.model.parameters()).device), self.head)
        log_probs = self.model.heads[self.head](x, layout).float().log_softmax(-1).cpu()
        answers = []
        for sample, frames in zip(samples, log_probs.split(layout.lengths.tolist()), strict=True):
            ids = best_path(frames, self.blank) if beam == 1 else prefix_beam(frames, self.blank, beam)
            answers.append(self._answer(sample.id, ids))
        return answers

    def _answer(self, name: str, ids: list[int]) -> Answer:
        # The tokenizers that write text decode plain lists of ids, too.
        decode: Any = self.tokenizer.decode
        return Answer(
            input=name,
            member=self.head,
            content=decode(ids),
            ids=tuple(ids),
            tokens=tuple(decode([each]) for each in ids),
        )
