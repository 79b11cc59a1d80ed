"""Embedders, one shared core, heads: one class, one forward."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.batch import Batch
from omniformer.core.cache import KVCache
from omniformer.core.core import reader, writer
from omniformer.core.joining import join
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.mixed_cache import MixedCache
from omniformer.core.rules import Full, Rule
from omniformer.core.ties import tie
from omniformer.heads.head import Head, Made


def can_name_a_part(name: str) -> bool:
    """Whether an embedder or a head may have a name: not one that `nn.ModuleDict` has itself, such as `train`.

    Example:
        >>> can_name_a_part("digits"), can_name_a_part("train")
        (True, False)
    """
    return not hasattr(nn.ModuleDict(), name)


class OmniFormer(nn.Module):
    """One transformer core that reads any mixture of modalities and serves any number of heads.

    Every modality has an embedder, every task a head and a rule; all of them share the core's weights. `encode` reads
    what samples are given, `decode` also what they answer.

    Args:
        core: the shared transformer, called with tokens, layout and rule; has `d_model`. An `EncoderDecoder` reads with
            its encoder and writes with its decoder.
        embedders: by modality.
        heads: by name of task.
        rules: by name of task, who may attend to whom; everybody where none is given.
        ties: weights of embedders that share, by name, the one replaced and the one in its place: source and target of
            a translation may have one table and positions of their own.

    Raises:
        ValueError: a name is one of PyTorch's own (`can_name_a_part`), a rule has no head of its name, a head is no
            `Head`, a tied head's modality has no table to tie to, or two tied weights differ in shape.

    Example:
        >>> import torch
        >>> from omniformer_tokenizers import PatchTokenizer
        >>> from omniformer.batch import Sample, collate
        >>> from omniformer.core import Transformer
        >>> from omniformer.embedders import VectorEmbedder
        >>> from omniformer.heads import ClassificationHead
        >>> model = OmniFormer(
        ...     core=Transformer(d_model=16, n_layers=1, n_heads=2),
        ...     embedders={"vision": VectorEmbedder(d_model=16, features=16, axes=2)},
        ...     heads={"digits": ClassificationHead(d_model=16, n_classes=10)},
        ... )
        >>> tokens = PatchTokenizer(patch_size=4, channels=1)(torch.zeros(1, 8, 8))
        >>> model(collate([Sample(id="zero", pieces=[tokens])]), "digits").shape
        torch.Size([1, 10])
    """

    def __init__(
        self,
        *,
        core: nn.Module,
        embedders: Mapping[str, nn.Module],
        heads: Mapping[str, Head],
        rules: Mapping[str, Rule] | None = None,
        ties: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        if kept := [name for name in (*embedders, *heads) if not can_name_a_part(name)]:
            raise ValueError(f"no part can be called {kept[0]!r}, which PyTorch's modules keep for themselves")
        self.core = core
        self.embedders = nn.ModuleDict(embedders)
        self.heads = nn.ModuleDict(heads)
        self.rules = dict(rules or {})
        if unknown := set(self.rules) - set(heads):
            raise ValueError(f"rules for {sorted(unknown)}, but the heads are {sorted(heads)}")
        for taken, given in (ties or {}).items():
            tie(self, taken, given)
        for name, head in heads.items():
            if not isinstance(head, Head):
                raise ValueError(
                    f"head {name!r} is a {type(head).__name__}; a head is a subclass of omniformer.heads.Head with "
                    "forward and predict"
                )
            head.share(embedders, name)
        # Modalities as numbers, for rules between them.
        self.modalities = {name: number for number, name in enumerate(embedders)}

    def forward(self, batch: Batch, head: str, *, losses: dict[str, Tensor] | None = None) -> Tensor:
        """The raw outputs of one head for a batch.

        Args:
            losses: filled, when given, with the core's own losses by name, for example the load balance of experts.

        Shapes:
            `[samples, outputs]`, or `[tokens, outputs]` for a head that reads every token.
        """
        x, layout = self.encode(batch, head, losses=losses)
        return self.heads[head](x, layout)

    def encode(
        self,
        batch: Batch,
        head: str | None = None,
        *,
        losses: dict[str, Tensor] | None = None,
        stages: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, Layout]:
        """The core's output for every token, under the rule of a head; everybody attends to everybody without one.

        Args:
            losses: filled, when given, with the core's own losses by name.
            stages: filled, when given, with named intermediate outputs, for probing.

        Shapes:
            `[tokens, d_model]`, and the layout that says which token is whose.
        """
        x, layout = self.embed(batch)
        if stages is not None:
            stages["embedded"] = x
        return self.reader(x, layout, self.rule(head), losses=losses, stages=stages), layout

    def decode(
        self,
        batch: Batch,
        head: str,
        *,
        memory: Memory | None = None,
        condition: Tensor | None = None,
        cache: KVCache | MixedCache | None = None,
        losses: dict[str, Tensor] | None = None,
        stages: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, Layout]:
        """The core's output for every token of the answers, which read what their samples are given.

        A core with cross-attention (`CrossBlock`, `GatedCrossBlock`, `RecurrentDecoder`) reads the given pieces as a
        memory; any other core reads one sequence a sample, the given pieces first: they are what the rule `Prefix`
        lets everybody see ([Raffel et al. 2020](https://arxiv.org/abs/1910.10683), 3.2.1).

        Args:
            memory: what the answers read, where the caller has it; else `memory(batch)`.
            condition: one vector for each sample, for a core with `AdaptiveNorm`.
            cache: filled with keys and values, so that `advance` can go on.
            losses: filled, when given, with the core's own losses by name.
            stages: filled, when given, with named intermediate outputs, for probing.

        Shapes:
            condition `[samples, d_condition]` → `[answer tokens, d_model]`, and the layout that says which token is
            whose.

        Raises:
            ValueError: the samples have no answer.
        """
        if batch.answer is None:
            raise ValueError(f"samples {', '.join(map(repr, batch.ids[:3]))} have no answer to predict")
        shared = {"condition": condition, "cache": cache, "losses": losses, "stages": stages}
        shared = {name: value for name, value in shared.items() if value is not None}
        if self.writer.reads_memory:
            memory = self.memory(batch) if memory is None else memory
            x, layout = self.embed(batch.answer)
            new = layout if cache is None else _announced(layout, cache)
            return self.writer(x, new, self.rule(head), memory=memory, **shared), layout
        given, first = self.embed(batch)
        written, second = self.embed(_behind(batch, batch.answer))
        joined = join(first, second)
        new = joined.layout if cache is None else _announced(joined.layout, cache)
        x = self.writer(joined.tokens(given, written), new, self.rule(head), **shared)
        return x[joined.second], second

    def memory(self, batch: Batch) -> Memory:
        """What samples are given, for cross-attention to read: through the encoder where the core has one, else as the
        embedders make it ([Alayrac et al. 2022](https://arxiv.org/abs/2204.14198) freeze what comes after them).
        """
        x, layout = self.embed(batch)
        return Memory(x=self.reader(x, layout) if self.reader is not self.writer else x, layout=layout)

    def advance(self, ids: Tensor, positions: Tensor, cache: KVCache | MixedCache, head: str) -> Tensor:
        """Scores of the next id after each of some more tokens, equally many of every sample: a step of decoding behind
        `decode(cache=...)`.

        Shapes:
            ids int64 `[new tokens]`, those of the first sample first, positions `[new tokens, axes]` →
            `[new tokens, vocab_size]`.
        """
        return self.head(head)(*self.read_on(ids, positions, cache, head))

    def read_on(self, ids: Tensor, positions: Tensor, cache: KVCache | MixedCache, head: str) -> tuple[Tensor, Layout]:
        """What the writer gives for the tokens that `advance` scores, and their layout.

        Shapes:
            as for `advance` → `[new tokens, d_model]`.
        """
        modality = self.head(head).modality
        assert modality is not None, f"{head!r} scores no ids that could be written"
        n_samples = len(cache.lengths)
        lengths = torch.full((n_samples,), len(ids) // max(n_samples, 1))
        packed = Packed(values=ids, positions=positions, modality=modality, lengths=lengths)
        x = self.embedders[modality](packed)
        known = cache.seen.positions
        if known is not None and known.shape[1] != positions.shape[1]:
            positions = nn.functional.pad(positions, (0, known.shape[1] - positions.shape[1]))
        new, _ = cache.extend(
            lengths,
            positions=positions,
            modality=torch.full_like(ids, self.modalities[modality]),
        )
        return self.writer(x, new, self.rule(head), cache=cache), new

    @property
    def reader(self) -> nn.Module:
        """The transformer that reads what samples are given: the core, or the encoder of a pair."""
        return reader(self.core)

    @property
    def writer(self) -> nn.Module:
        """The transformer that writes answers: the core, or the decoder of a pair."""
        return writer(self.core)

    def head(self, name: str) -> Head:
        """The head of a name.

        Raises:
            ValueError: there is none; names those that there are.
        """
        if name not in self.heads:
            raise ValueError(f"no head named {name!r}; this model has {', '.join(self.heads)}")
        return cast(Head, self.heads[name])

    def rule(self, head: str | None) -> Rule:
        """Who may attend to whom under a head."""
        if head is None:
            return Full()
        self.head(head)
        return self.rules.get(head, Full())

    def makes(self, head: str) -> Made | None:
        """What is made with a head, as it says; of ids, the hidden ones where a token sees those behind it, for such a
        task has learned to find them and not to go on.
        """
        made = self.head(head).makes
        return "hidden" if made == "ids" and self.rule(head).sees_ahead() else made

    def embed(self, batch: Batch) -> tuple[Tensor, Layout]:
        """The tokens of all modalities as vectors, interleaved into one sequence a sample.

        Shapes:
            `[tokens, d_model]`, and their layout.

        Raises:
            ValueError: the batch holds a modality that this model has no embedder for.
        """
        for modality, part in batch.parts.items():
            if modality not in self.embedders:
                named = ", ".join(map(repr, batch.ids[:3]))
                raise ValueError(
                    f"samples {named} hold modality {modality!r} ({len(part.values)} tokens); "
                    f"this model has embedders for {', '.join(self.embedders)}"
                )
        pieces = {modality: self.embedders[modality](part) for modality, part in batch.parts.items()}
        layout = self.layout(batch)
        if not pieces:
            return self._no_tokens(batch.prefix.device), layout
        if len(pieces) == 1:
            # One modality lies in sequence order already.
            return next(iter(pieces.values())), layout
        places = torch.cat([batch.places[modality] for modality in pieces])
        vectors = torch.cat(list(pieces.values()))
        return torch.zeros_like(vectors).index_copy(0, places, vectors), layout

    def layout(self, batch: Batch) -> Layout:
        """Lengths, coordinates and edges of a batch, in sequence order."""
        device = batch.prefix.device  # and not a weight's: of a model that is divided these may stay on the host
        axes = max((part.positions.shape[1] for part in batch.parts.values()), default=1)
        n_tokens = int(batch.lengths.sum())
        positions = torch.zeros(n_tokens, max(axes, 1), device=device)
        modality = torch.zeros(n_tokens, dtype=torch.long, device=device)
        edges, edge_features = [], []
        alone = len(batch.parts) == 1  # one modality lies in sequence order already
        for name, part in batch.parts.items():
            places = slice(None) if alone else batch.places[name]
            # Coordinates that a modality does not have stay 0, where rotary positions turn nothing.
            positions[places, : part.positions.shape[1]] = part.positions
            modality[places] = self.modalities.get(name, -1)
            if part.edges is not None:
                edges.append(part.edges if alone else batch.places[name][part.edges])
            if part.edge_features is not None:
                edge_features.append(part.edge_features)
        return Layout(
            lengths=batch.lengths,
            positions=positions,
            modality=modality,
            prefix=batch.prefix,
            edges=edges[0] if alone and edges else torch.cat(edges, dim=1) if edges else None,
            edge_features=torch.cat(edge_features) if edge_features else None,
            pairs=_pairs(batch),
            device=device,
        )

    def _no_tokens(self, device: torch.device) -> Tensor:
        dtype = next(self.parameters()).dtype
        return torch.zeros(0, self.reader.d_model, dtype=dtype, device=device)  # pyright: ignore[reportCallIssue,reportArgumentType]


def _announced(layout: Layout, cache: KVCache | MixedCache) -> Layout:
    """The same tokens as new ones of a cache."""
    new, _ = cache.extend(layout.lengths, positions=layout.positions, prefix=layout.prefix, modality=layout.modality)
    return new


def _behind(batch: Batch, answer: Batch) -> Batch:
    """The answers with coordinates that go on where tokens of the same modality that come before have ended."""
    moved = {}
    for name, part in answer.parts.items():
        before = batch.counts.get(name)
        if before is None or part.positions.shape[1] != 1:
            continue
        shift = torch.repeat_interleave(before, answer.counts[name]).to(part.positions)
        moved[name] = replace(part, positions=part.positions + shift[:, None])
    return replace(answer, parts={**answer.parts, **moved})


def _pairs(batch: Batch) -> dict[str, Tensor]:
    """The values of pairs of tokens over whole samples, -1 for pairs that have none.

    Shapes:
        each `[sum of squared sample lengths, ...]`.
    """
    found: dict[str, Tensor] = {}
    for modality, part in batch.parts.items():
        if not part.pairs:
            continue
        if len(batch.parts) == 1 and torch.equal(part.lengths, batch.lengths):
            return dict(part.pairs)
        index = _pair_index(batch, modality)
        for name, values in part.pairs.items():
            n_pairs = int((batch.lengths**2).sum())
            whole = found.get(name, values.new_full((n_pairs, *values.shape[1:]), -1))
            found[name] = whole.index_copy(0, index, values)
    return found


def _pair_index(batch: Batch, modality: str) -> Tensor:
    """Where each pair of tokens of a modality's pieces stands in the flat list of all pairs of all samples."""
    lengths = batch.lengths.to(batch.places[modality].device)
    first_token, first_pair = lengths.cumsum(0) - lengths, (lengths**2).cumsum(0) - lengths**2
    index = []
    for places in batch.places[modality].split(batch.parts[modality].lengths.tolist()):
        sample = torch.searchsorted(first_token, places[:1], right=True) - 1
        # Samples without tokens share their first token with the next one; the last of them owns it.
        local = places - first_token[sample]
        index.append((first_pair[sample] + local[:, None] * lengths[sample] + local).flatten())
    return torch.cat(index)
