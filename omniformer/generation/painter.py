"""A task that makes pictures out of noise, with its tokenizers: prompts in, pictures out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from omniformer_tokenizers import Tokenizer, unpack

from omniformer.batch import Sample, collate
from omniformer.generation.answer import Answer, blank_picture, given_sample, head_making, keyed
from omniformer.generation.diffusion import denoise
from omniformer.inputs import listed
from omniformer.inputs.member import Member
from omniformer.model import OmniFormer


class Painter:
    """One task of a model that makes pictures by diffusion, as `Writer` is one that writes token by token.

    Args:
        model: in evaluation mode.
        head: the name of a head that makes pictures, such as `DenoisingHead`.
        tokenizers: by modality.
        given: the modalities that the task reads before it paints; empty where it paints what it likes.
        modality: of the pictures; the one that is not given by default.

    Raises:
        ValueError: the head is of another kind, or it is not clear what is painted.

    Example:
        >>> from functools import partial
        >>> from omniformer_tokenizers import PatchTokenizer
        >>> from omniformer.core.connection import AdaptiveNorm
        >>> from omniformer.core.transformer import Transformer
        >>> from omniformer.embedders import VectorEmbedder
        >>> from omniformer.heads import DenoisingHead
        >>> model = OmniFormer(
        ...     core=Transformer(d_model=16, n_layers=1, n_heads=2, connection=partial(AdaptiveNorm, d_condition=8)),
        ...     embedders={"vision": VectorEmbedder(d_model=16, features=16, axes=2)},
        ...     heads={"paint": DenoisingHead(d_model=16, features=16, d_condition=8)},
        ... )
        >>> painter = Painter(model.eval(), "paint", tokenizers={"vision": PatchTokenizer(patch_size=4, channels=1)})
        >>> painter.write([""], steps=5, size=(8, 8))[0][0].content.shape
        torch.Size([1, 8, 8])
    """

    writes_text = False

    def __init__(
        self,
        model: OmniFormer,
        head: str,
        *,
        tokenizers: Mapping[str, Tokenizer],
        given: Sequence[str] = (),
        modality: str | None = None,
    ) -> None:
        head_making("pictures", model, head)
        left = [name for name in tokenizers if name not in given] if modality is None else [modality]
        if len(left) != 1 or not hasattr(tokenizers[left[0]], "image_size"):
            raise ValueError(f"{head!r} paints one modality of pictures; of {', '.join(tokenizers)} say which is given")
        self.model, self.head, self.modality = model, head, left[0]
        self.tokenizer = tokenizers[self.modality]
        self.given = {name: tokenizers[name] for name in given}

    @classmethod
    def of(cls, model: OmniFormer, task: str, member: Member) -> "Painter":
        """The painter of a task of a trained model."""
        return cls(model, task, tokenizers=member.tokenizers, given=member.given)

    def write(
        self,
        prompts: Sequence[Any],
        *,
        steps: int = 50,
        guidance: float | None = None,
        seed: int = 0,
        size: tuple[int, int] | None = None,
        batch_size: int = 16,
    ) -> list[list[Answer]]:
        """A picture for each prompt.

        Args:
            prompts: what the task is given, as for `Writer.write`; empty ones where it is given nothing.
            steps: how many steps from noise to picture.
            guidance: how much more what is given shall count than it does by itself; by default 3, or 1 where the task
                is given nothing or its core has no cross-attention.
            seed: of the noise; the same seed gives the same pictures.
            size: height and width, where the tokenizer does not say.
            batch_size: prompts in one pass; pictures do not depend on it.

        Raises:
            ValueError: a prompt is empty or cannot be read, or a number is out of its range.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        if guidance is None:
            guidance = 3.0 if self.given and self.model.writer.reads_memory else 1.0
        blank = replace(blank_picture(self.tokenizer, size, self.head), modality=self.modality)
        given = self._given(prompts)
        names, samples = [each.id for each in given], keyed([replace(each, answer=[blank]) for each in given])
        device = next(self.model.parameters()).device
        made: list[list[Answer]] = []
        for start in range(0, len(samples), batch_size):
            chunk = samples[start : start + batch_size]
            pictures = denoise(
                self.model, self.head, collate(chunk).to(device), steps=steps, guidance=guidance, seed=seed
            )
            for tokens in unpack(pictures.to("cpu")):
                content = self.tokenizer.decode(tokens)
                made.append([Answer(input=names[len(made)], member=self.head, content=content)])
        return made

    def read(self, prompts: Sequence[Any]) -> list[Sample]:
        """Prompts as `write` reads them, see `Writer.read`."""
        return keyed(self._given(prompts))

    def _given(self, prompts: Sequence[Any]) -> list[Sample]:
        return [given_sample(f"prompt {i}", each, self.given, self.head) for i, each in enumerate(listed(prompts))]
