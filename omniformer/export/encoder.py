"""What reads: models, towers, and encoders before a decoder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from omniformer_tokenizers import Tokenizer
from torch import Tensor, nn

from omniformer.batch import Batch, Sample, collate
from omniformer.core.padded import PaddedLayout, beside
from omniformer.core.rules import Full
from omniformer.export.entrance import Entrance, Port
from omniformer.export.program import Program, Run, crosses, difference, entrance_of, memory_ports
from omniformer.model import OmniFormer


class Encoder(Program):
    """One pass over samples of any modalities: classes, numbers, scores of each token, or the core's output.

    Args:
        model: what is exported.
        head: the name of the task, or None for the core's output.
        tokenizers: of the modalities that come in, in the order in which the core reads them.

    Raises:
        ValueError: a part of the model cannot be traced.
    """

    def __init__(self, model: OmniFormer, head: str | None, tokenizers: Mapping[str, Tokenizer | None]) -> None:
        super().__init__(model, head, list(tokenizers))
        several = len(tokenizers) > 1
        self.entrances = nn.ModuleList(
            entrance_of(self.model, modality, tokenizer, f"{modality}_seq" if several else "seq")
            for modality, tokenizer in tokenizers.items()
        )
        self.inputs = tuple(port for entrance in self.doors for port in entrance.ports)
        self.seq = " + ".join(entrance.ports[-1].shape[1] for entrance in self.doors)  # pyright: ignore[reportArgumentType,reportCallIssue]
        self.outputs = self._outputs()

    @property
    def doors(self) -> list[Entrance]:
        """The entrances, in the order of the modalities."""
        return list(self.entrances)  # pyright: ignore[reportReturnType]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs of padded samples."""
        x, layout = self.read(tensors)
        return self.said(x, layout)

    def read(self, tensors: Sequence[Tensor]) -> tuple[Tensor, PaddedLayout]:
        """The core's output for every place of padded samples.

        Shapes:
            `[batch * seq, d_model]`.
        """
        x, layout = self.entered(tensors)
        return self.model.reader(x, layout, self.rule), layout

    def entered(self, tensors: Sequence[Tensor]) -> tuple[Tensor, PaddedLayout]:
        """The tokens of all modalities, side by side.

        Shapes:
            `[batch * seq, d_model]`.
        """
        entered, rest = [], list(tensors)
        for door in self.doors:
            entered.append(door(rest[: len(door.ports)]))
            rest = rest[len(door.ports) :]
        return beside(entered) if len(entered) > 1 else entered[0]

    def said(self, x: Tensor, layout: PaddedLayout) -> tuple[Tensor, ...]:
        """What the head says of the core's output."""
        if self.head is None:
            return (layout.pad(x),)
        head: Any = self.model.heads[self.head]
        raw = layout.pad(head(x, layout)) if head.per_token else head(*layout.packed(x))[:-1]
        return (raw, head.predict(raw)) if head.tells_classes else (raw,)

    def expected(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the packed model says of a batch, samples or tokens end to end."""
        if self.head is None:
            return (self.packed.encode(batch)[0],)
        head: Any = self.packed.heads[self.head]
        raw = self.packed(batch, self.head)
        return (raw, head.predict(raw)) if head.tells_classes else (raw,)

    @property
    def per_token(self) -> bool:
        """Whether outputs have a row for each token, or else one for each sample."""
        return self.head is None or bool(self.packed.heads[self.head].per_token)

    def example(self) -> list[Tensor]:
        """Three samples of all modalities."""
        return self.fed(self.samples((5, 3, 4), seed=0))

    def trials(self) -> Iterator[Callable[[Run], float]]:
        """Batches of one and of several, of one token and of many, padded on either side, and with empty samples."""
        for seed, lengths in enumerate(((6, 1, 9, 2, 7), (1,), (4, 0, 11)), start=1):
            for left in (False, True):
                yield lambda run, seed=seed, lengths=lengths, left=left: self._tried(
                    run, self.samples(lengths, seed=seed), left=left
                )

    def _tried(self, run: Run, samples: Sequence[Sample], *, left: bool) -> float:
        tensors = self.fed(samples, left=left)
        with torch.no_grad():
            expected = self.expected(collate(samples))
        masks = [each.bool() for port, each in zip(self.inputs, tensors, strict=True) if port.name.endswith("mask")]
        return self.compared(run(tensors), expected, torch.cat(masks, 1))

    def compared(self, found: Sequence[Tensor], expected: Sequence[Tensor], valid: Tensor) -> float:
        """How far padded outputs are from those of the packed model; see `difference`.

        Args:
            found: outputs of this program.
            expected: of the packed model, from `expected`.
            valid: which places of the inputs are tokens, bool `[batch, seq]`.
        """
        found = [each[valid] for each in found] if self.per_token else found
        return max(difference(a, b) for a, b in zip(found, expected, strict=True))

    def samples(self, lengths: Sequence[int], *, seed: int) -> list[Sample]:
        """Random samples of about as many tokens of each modality."""
        generator = torch.Generator().manual_seed(seed)
        return [
            Sample(
                id=f"drawn {i}",
                pieces=[door.drawn(door.fitting(n + j), generator) for j, door in enumerate(self.doors)],
            )
            for i, n in enumerate(lengths)
        ]

    def fed(self, samples: Sequence[Sample], *, left: bool = False) -> list[Tensor]:
        """The inputs of samples that have a piece of each modality, padded on the right, or on the left."""
        return [
            tensor
            for j, door in enumerate(self.doors)
            for tensor in door.fed([sample.pieces[j] for sample in samples], left=left)
        ]

    def _outputs(self) -> tuple[Port, ...]:
        with torch.no_grad():
            found = self(*self.example())
        shape = ("batch", self.seq) if self.per_token else ("batch",)
        first = "last_hidden_state" if self.head is None else self.packed.head(self.head).output
        names = [(first, "what the model says, before any softmax" if first == "logits" else "what the model says")]
        names.append(("probabilities", "the same as probabilities"))
        return tuple(
            Port(name=name, dtype="float32", shape=(*shape, out.shape[-1]), meaning=meaning)
            for (name, meaning), out in zip(names, found, strict=False)
        )


class Tower(Encoder):
    """One side of a model that compares modalities: samples of one modality in, unit vectors out, whose dot products
    are similarities.

    Args:
        model: what is exported.
        head: the name of the contrastive task.
        tokenizers: of the one modality.
    """

    def said(self, x: Tensor, layout: PaddedLayout) -> tuple[Tensor, ...]:
        """The unit vectors."""
        assert self.head is not None
        head: Any = self.model.heads[self.head]
        return (head.embed(*layout.packed(x), self.doors[0].modality)[:-1],)

    def expected(self, batch: Batch) -> tuple[Tensor, ...]:
        """The unit vectors of the packed model."""
        assert self.head is not None
        head: Any = self.packed.heads[self.head]
        return (head.embed(*self.packed.encode(batch, self.head), self.doors[0].modality),)

    def _outputs(self) -> tuple[Port, ...]:
        assert self.head is not None
        head: Any = self.packed.heads[self.head]
        meaning = "a unit vector for each sample; dot products are similarities"
        return (Port(name="embedding", dtype="float32", shape=("batch", head.d_embedding), meaning=meaning),)


class Given(Encoder):
    """What a task reads before it writes, as keys and values for each layer of the decoder that reads them.

    Args:
        model: what is exported; its decoder has cross-attention.
        head: the name of the task that writes.
        tokenizers: of the modalities that are given.
    """

    def __init__(self, model: OmniFormer, head: str, tokenizers: Mapping[str, Tokenizer | None]) -> None:
        super().__init__(model, head, tokenizers)
        self.rule = Full()  # what is given is read in both directions: see `OmniFormer.memory`
        # Asked of the model itself: a tracer hands out another stand-in each time that a part is asked for.
        self.encoded = model.reader is not model.writer

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The mask of what was read, then keys and values for each layer."""
        # Where there is no encoder, nothing but embedders stands before the decoder.
        x, layout = self.read(tensors) if self.encoded else self.entered(tensors)
        states = [each for cross in crosses(self.model).values() for each in cross.project_memory(x)]
        rows = "samples keys kv_heads head_dim -> samples kv_heads keys head_dim"
        return layout.valid.long(), *(rearrange(each.unflatten(0, layout.valid.shape), rows) for each in states)

    def expected(self, batch: Batch) -> tuple[Tensor, ...]:
        """The same of the packed model, tokens end to end."""
        memory = self.packed.memory(batch).x
        return tuple(each for cross in crosses(self.packed).values() for each in cross.project_memory(memory))

    def compared(self, found: Sequence[Tensor], expected: Sequence[Tensor], valid: Tensor) -> float:
        """How far keys and values are from those of the packed model, where the program's own mask says tokens are."""
        mask, *states = found
        states = [each.transpose(1, 2)[mask.bool()] for each in states]
        return max(difference(a, b) for a, b in zip(states, expected, strict=True))

    def _outputs(self) -> tuple[Port, ...]:
        return memory_ports(self.model, self.seq)
