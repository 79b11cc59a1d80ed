"""Embedders, one shared core, heads: one class, one forward."""

from collections.abc import Mapping

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.batch import Batch
from omniformer.core.cache import KVCache
from omniformer.core.layout import Layout
from omniformer.core.rules import Full, Rule
from omniformer.embedders.ids import IdEmbedder
from omniformer.heads.head import Head
from omniformer.heads.next_token import NextTokenHead


class OmniFormer(nn.Module):
    """One transformer core that reads any mixture of modalities and serves any number of heads.

    Every modality has an embedder, every task a head and a rule; all of them share the core's weights.

    Args:
        core: the shared transformer, called with tokens, layout and rule; has `d_model`.
        embedders: by modality.
        heads: by name of task.
        rules: by name of task, who may attend to whom; everybody where none is given.

    Raises:
        ValueError: a rule has no head of its name, or a tied head's modality has no table to tie to.

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
    ) -> None:
        super().__init__()
        self.core = core
        self.embedders = nn.ModuleDict(embedders)
        self.heads = nn.ModuleDict(heads)
        self.rules = dict(rules or {})
        if unknown := set(self.rules) - set(heads):
            raise ValueError(f"rules for {sorted(unknown)}, but the heads are {sorted(heads)}")
        for name, head in heads.items():
            if isinstance(head, NextTokenHead) and head.tied:
                embedder = embedders.get(head.modality)
                if not isinstance(embedder, IdEmbedder):
                    raise ValueError(
                        f"head {name!r} is tied to the table of modality {head.modality!r}, which has no IdEmbedder; "
                        "set tied=False"
                    )
                head.tie(embedder.table)
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
        return self.core(x, layout, self.rule(head), losses=losses, stages=stages), layout

    def rule(self, head: str | None) -> Rule:
        """Who may attend to whom under a head."""
        if head is not None and head not in self.heads:
            raise ValueError(f"no head named {head!r}; this model has {', '.join(self.heads)}")
        return self.rules.get(head, Full()) if head is not None else Full()

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
            return self._no_tokens(), layout
        if len(pieces) == 1:
            # One modality lies in sequence order already.
            return next(iter(pieces.values())), layout
        places = torch.cat([batch.places[modality] for modality in pieces])
        vectors = torch.cat(list(pieces.values()))
        return torch.zeros_like(vectors).index_copy(0, places, vectors), layout

    def layout(self, batch: Batch) -> Layout:
        """Lengths, coordinates and edges of a batch, in sequence order."""
        device = next(self.parameters()).device
        axes = max((part.positions.shape[1] for part in batch.parts.values()), default=1)
        n_tokens = batch.n_tokens
        positions = torch.zeros(n_tokens, max(axes, 1), device=device)
        modality = torch.zeros(n_tokens, dtype=torch.long, device=device)
        edges, edge_features = [], []
        for name, part in batch.parts.items():
            places = batch.places[name]
            # Coordinates that a modality does not have stay 0, where rotary positions turn nothing.
            positions[places, : part.positions.shape[1]] = part.positions
            modality[places] = self.modalities.get(name, -1)
            if part.edges is not None:
                edges.append(places[part.edges])
            if part.edge_features is not None:
                edge_features.append(part.edge_features)
        return Layout(
            lengths=batch.lengths,
            positions=positions,
            modality=modality,
            prefix=batch.prefix,
            edges=torch.cat(edges, dim=1) if edges else None,
            edge_features=torch.cat(edge_features) if edge_features else None,
            pairs=_pairs(batch),
            device=device,
        )

    def continue_with(self, ids: Tensor, lengths: Tensor, cache: KVCache, head: str) -> Tensor:
        """Logits of the next id after each sample's new tokens, given the earlier ones in a cache: one decoding step.

        Shapes:
            ids int64 `[new tokens]`, lengths int64 `[samples]` new tokens of each → `[samples, vocab_size]`.
        """
        reader = self.heads[head]
        assert isinstance(reader, NextTokenHead)
        new, _ = cache.extend(lengths)
        packed = Packed(values=ids, positions=new.index[:, None].float(), modality=reader.modality, lengths=lengths)
        x = self.core(self.embedders[reader.modality](packed), new, self.rule(head), cache=cache)
        return reader(x[new.offsets[1:] - 1], new)

    def _no_tokens(self) -> Tensor:
        parameter = next(self.parameters())
        return parameter.new_zeros(0, self.core.d_model)  # pyright: ignore[reportCallIssue,reportArgumentType]


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
