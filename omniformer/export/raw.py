"""Programs that begin at pixels and waveforms: what a tokenizer does to them is a part of the program."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import torch
from omniformer_tokenizers import Tokenizer
from torch import Tensor, nn

from omniformer.batch import Sample, collate
from omniformer.export.encoder import Encoder
from omniformer.export.entrance import Port
from omniformer.export.program import Program, Run

Numbers = Literal["uint8", "float32"]
"""What raw samples hold: pixels 0..255, or pixels 0..1 and samples of a waveform."""


class FromRaw(Program):
    """An `Encoder` of one modality that takes raw samples in the place of tokens: pictures of the size that its
    tokenizer cuts, or waveforms of one rate and one length, which may be any that the model has places for.

    Args:
        inner: takes the tokens.
        tokenizer: makes them of stacked samples (`Tokenizer.of_stack`).
        numbers: what the samples hold.

    Raises:
        ValueError: the tokenizer makes none of stacked samples, or sounds are to come as uint8.
    """

    def __init__(self, inner: Encoder, tokenizer: Tokenizer, numbers: Numbers) -> None:
        nn.Module.__init__(self)  # the model and its rule are those of the program inside
        self.inner, self.head, self.rule, self.tokenizer = inner, inner.head, inner.rule, tokenizer
        self.modalities = inner.modalities
        (self.door,) = inner.doors
        shape = tokenizer.stack_shape
        if shape is None:
            raise ValueError(
                f"{type(tokenizer).__name__} makes tokens of {self.door.modality} by more than the shape of a "
                "sample, as no program can; give pictures an image_size, or leave out raw"
            )
        self.shape: tuple[int | None, ...] = shape
        sounds = None in shape
        if numbers not in get_args(Numbers) or (sounds and numbers == "uint8"):
            raise ValueError(
                f"{self.door.modality} cannot come as {numbers}; choose {'float32' if sounds else numbers}"
            )
        self.numbers: Numbers = numbers
        self.inputs = (self._port(),)
        self.outputs = inner.outputs
        # What tokenizers keep from call to call, such as filters, is made now: of a tracer they would keep stand-ins.
        tokenizer.of_stack(*self.example())

    @property
    def packed(self) -> Any:
        """The model as it is."""
        return self.inner.packed

    def _port(self) -> Port:
        if len(self.shape) == 1:
            rate: Any = getattr(self.tokenizer, "sample_rate", None)
            name, meaning = "waveform", f"samples of one channel around -1..1, {rate} a second; all rows of one length"
        else:
            top = 255 if self.numbers == "uint8" else 1
            name, meaning = "pixels", f"0..{top}, in the order channels, rows, columns"
        shape = ("batch", *(size or "time" for size in self.shape))
        return Port(name=f"{self.door.modality}_{name}", dtype=self.numbers, shape=shape, meaning=meaning)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs of raw samples, as of their tokens."""
        (raws,) = tensors
        values, positions, features = self.tokenizer.of_stack(raws)
        mask = torch.ones(values.shape[:2], dtype=torch.int64)
        own = [features.get(name, torch.zeros_like(mask)) for name in self.door.features]
        return self.inner(values, *own, *([] if self.door.counted else [positions]), mask)

    def example(self) -> list[Tensor]:
        """Three samples."""
        return [self._stacked(self._drawn(3, seed=0))]

    def trials(self) -> Iterator[Callable[[Run], float]]:
        """One and several samples, of lengths other than those traced."""
        for seed, n in enumerate((2, 1, 4), start=1):
            yield lambda run, seed=seed, n=n: self._tried(run, self._drawn(n, seed=seed))

    def _tried(self, run: Run, raws: list[Tensor]) -> float:
        tokens = [self.tokenizer(raw) for raw in raws]
        samples = [Sample(id=f"drawn {i}", pieces=[piece]) for i, piece in enumerate(tokens)]
        with torch.no_grad():
            expected = self.inner.expected(collate(samples))
        found = run([self._stacked(raws)])
        return self.inner.compared(found, expected, torch.ones(len(raws), len(tokens[0]), dtype=torch.bool))

    def _drawn(self, n: int, *, seed: int) -> list[Tensor]:
        """Random samples of one shape; sounds of 0.15 to 0.3 seconds."""
        generator = torch.Generator().manual_seed(seed)
        sizes = [size for size in self.shape if size is not None]
        if len(sizes) == len(self.shape):
            if self.numbers == "uint8":
                return list(torch.randint(256, (n, *sizes), dtype=torch.uint8, generator=generator))
            return list(torch.rand(n, *sizes, generator=generator))
        length = int(getattr(self.tokenizer, "sample_rate", 16_000) * (0.15 + 0.05 * seed))
        return list(torch.randn(n, length, generator=generator) / 8)

    def _stacked(self, raws: list[Tensor]) -> Tensor:
        stack = torch.stack([self.tokenizer.stackable(raw) for raw in raws])
        return (stack * 255).round().byte() if self.numbers == "uint8" and stack.is_floating_point() else stack
