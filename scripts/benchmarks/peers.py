"""Peers in plain PyTorch, written as the projects that they stand for write them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.data.pyg_dataset import pyg

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def fused(causal: bool) -> Attend:
    """PyTorch's fused attention of `[batch, heads, tokens, head_dim]`."""
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Product, softmax, product, as vit-pytorch's SimpleViT has it."""
    return torch.matmul((torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5).softmax(-1), v)


class Layer(nn.Module):
    """A pre-norm layer on `[batch, tokens, d_model]`, with one map to queries, keys and values."""

    def __init__(self, d_model: int, n_heads: int, *, bias: bool = True) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.before, self.between = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)
        self.up, self.down = nn.Linear(d_model, 4 * d_model), nn.Linear(4 * d_model, d_model)

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """One layer."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.before(x)).split(width, dim=-1)
        q, k, v = (each.view(batch, tokens, self.n_heads, -1).transpose(1, 2) for each in (q, k, v))
        mixed = attend(q, k, v).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.out(mixed)
        return x + self.down(F.gelu(self.up(self.between(x))))


class GPT(nn.Module):
    """A language model as nanoGPT has it: learned positions, LayerNorm, GELU, tied head."""

    def __init__(self, d_model: int, n_layers: int, n_heads: int, vocab_size: int, max_tokens: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.table, self.places = nn.Embedding(vocab_size, d_model), nn.Embedding(max_tokens, d_model)
        self.layers = nn.ModuleList(Layer(d_model, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model)

    def forward(self, ids: Tensor, places: Tensor, attend: Attend | None = None) -> Tensor:
        """Scores `[batch, tokens, vocab_size]` of ids and their places, both `[batch, tokens]`."""
        x = self.table(ids) + self.places(places)
        for layer in self.layers:
            x = layer(x, attend or fused(causal=True))
        return F.linear(self.norm(x), self.table.weight)

    def loss(self, ids: Tensor, places: Tensor, first: Tensor, attend: Attend | None = None) -> Tensor:
        """Mean cross-entropy of every id but the first of a text."""
        scores = self(ids, places, attend)[:, :-1]
        wanted = ids[:, 1:].masked_fill(first[:, 1:], -100)
        return F.cross_entropy(scores.flatten(0, 1).float(), wanted.flatten(), ignore_index=-100)


class TorchGPT(GPT):
    """The same of PyTorch's own layers."""

    def __init__(self, d_model: int, n_layers: int, n_heads: int, vocab_size: int, max_tokens: int) -> None:
        super().__init__(d_model, 0, n_heads, vocab_size, max_tokens)
        layer = nn.TransformerEncoderLayer(
            d_model, n_heads, 4 * d_model, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.stack = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)

    def forward(self, ids: Tensor, places: Tensor, attend: Attend | None = None) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        x = self.stack(self.table(ids) + self.places(places), mask=mask, is_causal=True)
        return F.linear(self.norm(x), self.table.weight)


class Cached(nn.Module):
    """Greedy decoding over keys and values kept in one block for each layer, as litgpt does it."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    @torch.inference_mode()
    def forward(self, prompt: Tensor, n_new: int) -> Tensor:
        """Ids `[batch, n_new]` that follow a prompt `[batch, tokens]`."""
        batch, width = len(prompt), self.model.table.embedding_dim
        capacity, heads = prompt.shape[1] + n_new, self.model.n_heads
        kept = torch.zeros(len(self.model.layers), 2, batch, heads, capacity, width // heads)
        ids, found, start = prompt, [], 0
        for _ in range(n_new):
            end = start + ids.shape[1]
            x = self.model.table(ids) + self.model.places(torch.arange(start, end))
            for block, layer in zip(kept, self.model.layers, strict=True):
                x = layer(x, partial(_behind, block, start, end))
            scores = F.linear(self.model.norm(x[:, -1]), self.model.table.weight)
            ids, start = scores.argmax(-1, keepdim=True), end
            found.append(ids)
        return torch.cat(found, 1)


def _behind(block: Tensor, start: int, end: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention to what a block `[2, batch, heads, places, head_dim]` holds and to what is new."""
    block[0, :, :, start:end], block[1, :, :, start:end] = k, v
    keys, values = block[:, :, :, :end]
    return F.scaled_dot_product_attention(q, keys, values, is_causal=end - start > 1)


class ViT(nn.Module):
    """A transformer of vectors as SimpleViT has it: one map in, mean of all tokens, one map out; no class token."""

    def __init__(self, d_model: int, n_layers: int, n_heads: int, features: int, n_classes: int) -> None:
        super().__init__()
        self.map = nn.Linear(features, d_model)
        self.layers = nn.ModuleList(Layer(d_model, n_heads, bias=False) for _ in range(n_layers))
        self.norm, self.classes = nn.LayerNorm(d_model), nn.Linear(d_model, n_classes)

    def forward(self, vectors: Tensor, places: Tensor, attend: Attend, kept: Tensor | None = None) -> Tensor:
        """Scores of vectors `[batch, tokens, features]` with those of their places; where padded, `kept` is 0."""
        x = self.map(vectors) + places
        for layer in self.layers:
            x = layer(x, attend)
        x = self.norm(x)
        pooled = x.mean(1) if kept is None else (x * kept[..., None]).sum(1) / kept.sum(1, keepdim=True)
        return self.classes(pooled)


class Translator(nn.Module):
    """Encoder and decoder of PyTorch's own layers, pre-norm, one table for both languages and the head."""

    def __init__(self, d_model: int, n_layers: int, n_heads: int, vocab_size: int, max_tokens: int) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(vocab_size, d_model), nn.Embedding(max_tokens, d_model)
        options: dict[str, Any] = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        layer = nn.TransformerEncoderLayer(d_model, n_heads, 4 * d_model, **options)
        encoder = nn.TransformerEncoder(layer, n_layers, nn.LayerNorm(d_model), enable_nested_tensor=False)
        self.pair = nn.Transformer(d_model, n_heads, n_layers, n_layers, 4 * d_model, custom_encoder=encoder, **options)

    def loss(self, source: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy of every id of the target but the first."""
        read, written = (self.table(ids) + self.places.weight[: ids.shape[1]] for ids in (source, target))
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        x = self.pair(read, written, tgt_mask=mask, tgt_is_causal=True)
        scores = F.linear(x[:, :-1], self.table.weight)
        return F.cross_entropy(scores.flatten(0, 1).float(), target[:, 1:].flatten())


class GraphLayers(nn.Module):
    """TransformerConv of PyTorch Geometric in pre-norm layers, each with the feed-forward part of a transformer."""

    def __init__(self, d_model: int, n_layers: int, n_heads: int, features: int, n_outputs: int) -> None:
        super().__init__()
        layers = pyg("nn")
        self.map = nn.Linear(features, d_model)
        self.convs = nn.ModuleList(
            layers.TransformerConv(d_model, d_model // n_heads, n_heads) for _ in range(n_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(2 * n_layers + 1))
        self.ups = nn.ModuleList(nn.Linear(d_model, 4 * d_model) for _ in range(n_layers))
        self.downs = nn.ModuleList(nn.Linear(4 * d_model, d_model) for _ in range(n_layers))
        self.classes = nn.Linear(d_model, n_outputs)

    def forward(self, vectors: Tensor, edges: Tensor, sample: Tensor, n_samples: int) -> Tensor:
        """Outputs `[graphs, n_outputs]` of nodes `[nodes, features]`."""
        x = self.map(vectors)
        for i, conv in enumerate(self.convs):
            x = x + conv(self.norms[2 * i](x), edges)
            x = x + self.downs[i](F.gelu(self.ups[i](self.norms[2 * i + 1](x))))
        x = self.norms[-1](x)
        total = x.new_zeros(n_samples, x.shape[1]).index_add(0, sample, x)
        return self.classes(total / torch.bincount(sample, minlength=n_samples)[:, None])


class GPSLayers(nn.Module):
    """GPSConv of PyTorch Geometric: attention along edges and attention to the whole graph in each layer."""

    def __init__(self, d_model: int, n_layers: int, n_heads: int, features: int, n_outputs: int) -> None:
        super().__init__()
        layers = pyg("nn")
        self.map = nn.Linear(features, d_model)
        self.layers = nn.ModuleList(
            layers.GPSConv(
                d_model, layers.TransformerConv(d_model, d_model // n_heads, n_heads), n_heads, norm="layer_norm"
            )
            for _ in range(n_layers)
        )
        self.classes = nn.Linear(d_model, n_outputs)

    def forward(self, vectors: Tensor, edges: Tensor, sample: Tensor, n_samples: int) -> Tensor:
        """Outputs `[graphs, n_outputs]` of nodes `[nodes, features]`."""
        x = self.map(vectors)
        for layer in self.layers:
            x = layer(x, edges, batch=sample)
        total = x.new_zeros(n_samples, x.shape[1]).index_add(0, sample, x)
        return self.classes(total / torch.bincount(sample, minlength=n_samples)[:, None])
