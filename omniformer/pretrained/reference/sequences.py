"""Loaded models of ids behind the reference library's keywords: decoders, encoders, and both."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.batch import Batch
from omniformer.core.layout import Layout
from omniformer.model import OmniFormer
from omniformer.pretrained.reference.asked import hidden_states, loss_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outputs:
    """What the reference returns, by its names; None for what a model does not have, or nobody asked for.

    Shapes:
        loss `[]`; hidden_states each `[samples, seq, d_model]`, one more than there are layers;
        logits and prediction_logits `[samples, seq, vocab_size]`, or `[samples, n_classes]` where the head reads whole
        samples, as of seq_relationship_logits, cls_logits and distillation_logits; start_logits and end_logits
        `[samples, seq]`; last_hidden_state and encoder_last_hidden_state `[samples, seq, d_model]`; pooler_output
        `[samples, d_model]`; image_embeds and text_embeds `[samples, d_embedding]`; logits_per_image `[images, texts]`,
        logits_per_text its transpose. Rows of padding are zero.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    last_hidden_state: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    pooler_output: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    encoder_last_hidden_state: Tensor | None = None
    cls_logits: Tensor | None = None
    distillation_logits: Tensor | None = None
    image_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None


class Reference(nn.Module):
    """A loaded model that is called as the reference library's is: by keywords, or with the first input alone.

    What is not made here, such as attention maps, is refused by name. Keywords that ask for nothing of the kind
    (`return_dict=True`, `output_attentions=False`) change nothing.
    """

    def __call__(self, *first: Tensor, **inputs: Any) -> Outputs:
        """The reference's outputs.

        Raises:
            TypeError: something is asked for that is not made here; says what there is.
        """
        takes = list(signature(self.forward).parameters)
        if len(first) > 1:
            raise TypeError(f"one input may stand without its name; give the others by name: {', '.join(takes)}")
        asked = {name: each for name, each in inputs.items() if name in takes or not _asks_nothing(name, each)}
        if unknown := [name for name in asked if name not in takes]:
            raise TypeError(
                f"{unknown[0]} is not taken here, only {', '.join(takes)}; what else there is, such as attention "
                "maps and caches, the model itself gives (model.encode, model.advance)"
            )
        return super().__call__(**dict(zip(takes, first, strict=False)), **asked)


def _asks_nothing(name: str, value: Any) -> bool:
    """Whether a keyword of the reference asks for nothing more than what is returned anyway."""
    return value is None or value is (name == "return_dict")


class CausalReference(Reference):
    """A language model, or a classifier of texts on top of one: `input_ids` and `attention_mask` in, `logits` out.

    Positions count the tokens that take part, so that padding may stand on either side. The reference counts columns,
    padding included: on its side, padding on the left needs `position_ids=(attention_mask.cumsum(1) - 1).clamp(0)`.
    A classifier reads the last token that takes part; the reference's reads the last id that is not `pad_token_id`.

    Args:
        model: the loaded model.
        head: the name of its head; without one only the core's output is returned.
    """

    def __init__(self, model: OmniFormer, head: str | None) -> None:
        super().__init__()
        self.model, self.head = model, head

    def forward(
        self,
        *,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> Outputs:
        """The reference's outputs; with labels their loss, and hidden states where they are asked for.

        Shapes:
            input_ids, attention_mask and position_ids int64 `[samples, seq]`; labels as for `loss_of`.

        Raises:
            ValueError: as for `loss_of`; or there are labels and no head.
        """
        taken = takes_part(input_ids, attention_mask)
        stages: dict[str, Tensor] | None = {} if output_hidden_states else None
        batch = batch_of(ids(input_ids, taken, positions=position_ids))
        x, layout = self.model.encode(batch, self.head, stages=stages)
        found: dict[str, Any] = named(self.model, self.head, x, layout, taken)
        return Outputs(
            **found,
            loss=_loss(self.model, self.head, found.get("logits"), labels, taken, shifted=True),
            hidden_states=_states(stages, x, taken),
            last_hidden_state=padded(x, taken),
        )


class EncoderReference(Reference):
    """An encoder of text: `input_ids`, `attention_mask` and `token_type_ids` in, the outputs of its heads out.

    Args:
        model: the loaded model.
        outputs: by head, what the reference calls its `logits`.
        padding: the id that positions do not count, as in RoBERTa; by default they count all places, as in BERT, those
            of padding included.

    Raises:
        ValueError: when called, the mask takes a token for one that has the id of padding.
    """

    def __init__(self, model: OmniFormer, outputs: Mapping[str, str], *, padding: int | None = None) -> None:
        super().__init__()
        self.model, self.outputs, self.padding = model, dict(outputs), padding

    def forward(
        self,
        *,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> Outputs:
        """The reference's outputs; with labels their loss, and hidden states where they are asked for.

        Shapes:
            input_ids, attention_mask and token_type_ids int64 `[samples, seq]`; labels as for `loss_of`.

        Raises:
            ValueError: as for `loss_of`; there are labels and not one head with logits; or the mask takes a token for
                one that has the id of padding.
        """
        taken = takes_part(input_ids, attention_mask)
        if self.padding is not None and bool((input_ids[taken] == self.padding).any()):
            raise ValueError(
                f"input_ids hold {self.padding}, which is padding, where a token takes part; give an attention_mask "
                "that is 0 there"
            )
        packed = replace(ids(input_ids, taken), positions=self._positions(taken))
        if token_type_ids is not None:
            packed = replace(packed, features={"segment": token_type_ids[taken]})
        stages: dict[str, Tensor] | None = {} if output_hidden_states else None
        x, layout = self.model.encode(batch_of(packed), stages=stages)
        found: dict[str, Any] = {"last_hidden_state": padded(x, taken)}
        for name, output in self.outputs.items():
            rows = named(self.model, name, x, layout, taken)
            found |= {output if said == "logits" else said: each for said, each in rows.items()}
        head = next(iter(self.outputs), None)
        loss = _loss(self.model, head, found.get("logits"), labels, taken, shifted=False)
        return Outputs(**found, loss=loss, hidden_states=_states(stages, x, taken))

    def _positions(self, taken: Tensor) -> Tensor:
        """The coordinates of the tokens that take part."""
        count = torch.ones_like(taken) if self.padding is None else taken
        return (count.cumsum(1) - 1)[taken][:, None].float()


class EncoderDecoderReference(Reference):
    """A model that reads a text and writes another one: `input_ids`, `decoder_input_ids` and their masks in, `logits`
    out.

    Positions count the tokens that take part, so that padding may stand on either side.

    Args:
        model: the loaded model.
        head: the name of its head.
        source: the modality of what is read.
        target: the modality of what is written.
    """

    def __init__(self, model: OmniFormer, head: str, *, source: str = "text", target: str = "text") -> None:
        super().__init__()
        self.model, self.head, self.source, self.target = model, head, source, target

    def forward(
        self,
        *,
        input_ids: Tensor,
        decoder_input_ids: Tensor,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
    ) -> Outputs:
        """The reference's outputs; `last_hidden_state` is the decoder's.

        Shapes:
            input_ids and attention_mask int64 `[samples, seq]`, decoder_input_ids and decoder_attention_mask int64
            `[samples, target seq]`.
        """
        taken = takes_part(input_ids, attention_mask)
        written = takes_part(decoder_input_ids, decoder_attention_mask)
        answer = batch_of(ids(decoder_input_ids, written, self.target))
        batch = replace(batch_of(ids(input_ids, taken, self.source)), answer=answer)
        memory = self.model.memory(batch)
        x, layout = self.model.decode(batch, self.head, memory=memory)
        return Outputs(
            logits=padded(self.model.heads[self.head](x, layout), written),
            last_hidden_state=padded(x, written),
            encoder_last_hidden_state=padded(memory.x, taken),
        )


class RereadingReference(Reference):
    """A text that encoder and decoder read both, and its classes: `input_ids` in, `logits` out.

    Args:
        model: the loaded model.
        head: the name of its head.
        last: the id that closes a text, whose last one the reference classifies.
    """

    def __init__(self, model: OmniFormer, head: str, *, last: int) -> None:
        super().__init__()
        self.model, self.head, self.last = model, head, last

    def forward(
        self, *, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None
    ) -> Outputs:
        """The reference's outputs; with labels their loss.

        Shapes:
            input_ids and attention_mask int64 `[samples, seq]`; labels as for `loss_of`.

        Raises:
            ValueError: as for `loss_of`; or a text does not end with the id that closes texts.
        """
        taken = takes_part(input_ids, attention_mask)
        packed = ids(input_ids, taken)
        ends = packed.values[packed.lengths.cumsum(0).to(packed.values.device) - 1]
        if bool((ends != self.last).any()):
            raise ValueError(f"input_ids must end with {self.last} in every row, where a text is classified")
        x, layout = self.model.encode(batch_of(packed), self.head)
        logits = self.model.head(self.head)(x, layout)
        return Outputs(logits=logits, loss=_loss(self.model, self.head, logits, labels, taken, shifted=False))


def takes_part(values: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Which places of a padded tensor hold a token: all of them without a mask.

    Shapes:
        values `[samples, seq, ...]` → bool `[samples, seq]`.
    """
    if attention_mask is None:
        return torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
    return attention_mask.bool()


def ids(input_ids: Tensor, taken: Tensor, modality: str = "text", positions: Tensor | None = None) -> Packed:
    """Padded ids as packed tokens; without positions, each sample's tokens are counted from 0.

    Shapes:
        input_ids and positions int64 `[samples, seq]`, taken bool `[samples, seq]`.
    """
    positions = (taken.cumsum(1) - 1 if positions is None else positions.expand_as(taken))[taken]
    return Packed(
        values=input_ids[taken],
        positions=positions[:, None].float(),
        modality=modality,
        lengths=taken.sum(1).cpu(),
    )


def batch_of(packed: Packed) -> Batch:
    """One modality's tokens as a batch."""
    n_tokens, lengths = len(packed.values), packed.lengths
    return Batch(
        parts={packed.modality: packed},
        places={packed.modality: torch.arange(n_tokens, device=packed.values.device)},
        lengths=lengths,
        counts={packed.modality: lengths},
        targets={},
        token_targets={},
        ids=tuple(f"row {i}" for i in range(len(lengths))),
        prefix=torch.zeros(len(lengths), dtype=torch.long, device=packed.values.device),
    )


def named(model: OmniFormer, head: str | None, x: Tensor, layout: Layout, taken: Tensor) -> dict[str, Any]:
    """What a head makes of the core's output, by the names that the reference has for it; nothing without a head."""
    if head is None:
        return {}
    reader = model.head(head)
    found = reader.published(x, layout)
    return {name: padded(rows, taken) for name, rows in found.items()} if reader.per_token else found


def _loss(
    model: OmniFormer, head: str | None, logits: Tensor | None, labels: Tensor | None, taken: Tensor, *, shifted: bool
) -> Tensor | None:
    """The loss of labels, where there are any."""
    if labels is None:
        return None
    if head is None or logits is None:
        raise ValueError("labels are for a model with one head that gives logits; this one has none, or several")
    return loss_of(model.head(head), logits, labels, taken, shifted=shifted)


def _states(stages: dict[str, Tensor] | None, x: Tensor, taken: Tensor) -> tuple[Tensor, ...] | None:
    """The hidden states, where they are asked for."""
    return None if stages is None else tuple(padded(each, taken) for each in hidden_states(stages, x))


def padded(rows: Tensor, taken: Tensor) -> Tensor:
    """Rows of tokens where the reference has them, zeros elsewhere.

    Shapes:
        rows `[tokens, ...]`, taken bool `[samples, seq]` → `[samples, seq, ...]`.
    """
    out = rows.new_zeros(*taken.shape, *rows.shape[1:])
    return out.masked_scatter(taken.view(*taken.shape, *[1] * (rows.ndim - 1)), rows)
