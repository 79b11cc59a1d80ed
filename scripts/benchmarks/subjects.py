"""The subjects: each gives its contenders, ours first, at the size of the table or at one that a test can afford."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from omniformer_tokenizers import SpectrogramTokenizer, Tokens, unpack
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import peers
from benchmarks.measuring import Contender, at_medium, training
from omniformer.batch import Batch, Sample, collate
from omniformer.core import Transformer
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.block import CrossBlock
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.feedforward import FeedForward
from omniformer.core.layer_kinds import LayerKind
from omniformer.core.norm import LayerNorm, RMSNorm
from omniformer.core.positions import Learned, Sinusoidal
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Neighbours, Rule
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.few_rows import for_few_rows
from omniformer.generation import Greedy, write
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.inspection.cost import parameters
from omniformer.model import OmniFormer
from omniformer.quantization import Weights, quantize
from omniformer.tasks import CausalLM, Classification

N_CLASSES = 10

GPT2_PARTS: dict[str, Any] = {"norm": LayerNorm, "feedforward": partial(FeedForward, activation="gelu")}
VIT_PARTS: dict[str, Any] = GPT2_PARTS | {"attention": partial(SelfAttention, bias=False)}
DEFAULT_PARTS: dict[str, Any] = {
    "norm": RMSNorm,
    "attention": partial(SelfAttention, bias=False, qk_norm=RMSNorm),
    "feedforward": partial(FeedForward, activation="relu2", bias=False),
    "rotary": partial(Rotary, n_axes=2),
}


def text(ids: Tensor) -> Tokens:
    """A text of ids."""
    return Tokens(values=ids, positions=torch.arange(float(len(ids)))[:, None], modality="text")


def word(n: int, vocab_size: int) -> Tokens:
    """A text of random ids."""
    return text(torch.randint(vocab_size, (n,)))


def picture(rows: int, columns: int, features: int) -> Tokens:
    """A picture of random patches."""
    cells = torch.cartesian_prod(torch.arange(float(rows)), torch.arange(float(columns)))
    return Tokens(values=torch.randn(rows * columns, features), positions=cells, modality="vision")


def labelled(pieces: Sequence[Tokens]) -> Batch:
    """Samples of one piece, each with a class."""
    labels = torch.arange(len(pieces)) % N_CLASSES
    return collate([Sample(id=str(i), pieces=[p], targets={"label": labels[i]}) for i, p in enumerate(pieces)])


def classifier(
    core: nn.Module, batch: Callable[[], Batch], *, rule: Rule | None = None, bf16: bool = False
) -> Contender:
    """Ours on a batch of vectors of one modality."""
    ((modality, packed),) = batch().parts.items()
    width: Any = core.d_model
    axes = packed.positions.shape[1]
    # Waves, as the peers have: no weights. Nodes of graphs have no places.
    embedder = VectorEmbedder(
        d_model=width, features=packed.values.shape[1], axes=axes, position=Sinusoidal if axes else None
    )
    head = ClassificationHead(d_model=width, n_classes=N_CLASSES)
    task = Classification(head=head, n_classes=N_CLASSES, rule=rule)
    model = OmniFormer(core=core, embedders={modality: embedder}, heads={"x": head}, rules={"x": task.rule})
    return training("ours", model, lambda: task.step(model, batch(), "x").loss, bf16=bf16)


def language_model(parts: dict[str, Any], sizes: dict[str, int], vocab_size: int, max_tokens: int) -> OmniFormer:
    """Ours, with learned positions where the parts have no rotary ones."""
    position = None if "rotary" in parts else partial(Learned, sizes=[max_tokens])
    d_model = sizes["d_model"]
    return OmniFormer(
        core=Transformer(**sizes, **parts),
        embedders={"text": IdEmbedder(d_model=d_model, vocab_size=vocab_size, position=position)},
        heads={"lm": NextTokenHead(d_model=d_model, vocab_size=vocab_size)},
        rules={"lm": Causal()},
    )


def predicting(name: str, model: OmniFormer, batch: Batch, **options: Any) -> Contender:
    """Ours learning to predict the next id."""
    task = CausalLM(head=model.heads["lm"])  # pyright: ignore[reportArgumentType]
    return training(name, model, lambda: task.step(model, batch, "lm").loss, **options)


def lm(parts: dict[str, Any], *, bf16: bool, quick: bool) -> list[Contender]:
    """A language model: 6 layers of 384, 8 texts of 256 tokens."""
    sizes = {"d_model": 64, "n_layers": 1, "n_heads": 2} if quick else {"d_model": 384, "n_layers": 6, "n_heads": 6}
    n_texts, length, vocab_size = (1, 64, 9000) if quick else (8, 256, 5000)
    texts = [word(length, vocab_size) for _ in range(n_texts)]
    ours = language_model(parts, sizes, vocab_size, length)
    ids = torch.stack([each.values for each in texts])
    places, first = torch.arange(length).expand(n_texts, -1), torch.zeros(n_texts, length, dtype=torch.bool)
    found = [predicting("ours", ours, collate([Sample(id=str(i), pieces=[t]) for i, t in enumerate(texts)]), bf16=bf16)]
    for name, kind in (("as nanoGPT", peers.GPT), ("torch.nn", peers.TorchGPT)):
        peer = kind(**sizes, vocab_size=vocab_size, max_tokens=length)
        found.append(training(name, peer, partial(peer.loss, ids, places, first), bf16=bf16))
    return found


def vit(*, bf16: bool, quick: bool) -> list[Contender]:
    """Pictures: 2.7 million weights, 6 layers of 192, 64 pictures of 32 x 32 in patches of 4 x 4."""
    layers, n, side = (1, 2, 4) if quick else (6, 64, 8)
    pieces = [picture(side, side, 48) for _ in range(n)]
    batch = labelled(pieces)
    core = Transformer(d_model=192, n_layers=layers, n_heads=3, **VIT_PARTS)
    peer = peers.ViT(192, layers, 3, 48, N_CLASSES)
    vectors, labels = torch.stack([piece.values for piece in pieces]), batch.targets["label"]
    places = Sinusoidal(d_model=192, n_axes=2)(pieces[0].positions)
    found = [classifier(core, lambda: batch, bf16=bf16)]
    for name, attend in (("as SimpleViT", peers.written_out), ("as SimpleViT, fused", peers.fused(causal=False))):
        loss = partial(_peer_loss, peer, labels, vectors, places, attend)
        found.append(training(name, peer, loss, bf16=bf16))
    return found


def _peer_loss(peer: nn.Module, labels: Tensor, *given: Any) -> Tensor:
    return F.cross_entropy(peer(*given).float(), labels)


def spectrogram(*, quick: bool) -> list[Contender]:
    """Sounds with their features computed in every step: 16 clips of a second, a token of two log-mel frames."""
    from torchaudio.transforms import MelSpectrogram

    layers, n, rate = (1, 2, 4000) if quick else (6, 16, 16000)
    clips = torch.randn(n, rate)
    tokenizer = SpectrogramTokenizer(sample_rate=rate, n_mels=64, frames_per_token=2)
    mel = MelSpectrogram(rate, n_fft=400, hop_length=160, n_mels=64, center=True)
    peer = peers.ViT(192, layers, 3, 128, N_CLASSES)
    labels, n_tokens = torch.arange(n) % N_CLASSES, len(tokenizer(clips[0]))
    places = Sinusoidal(d_model=192, n_axes=1)(torch.arange(float(n_tokens))[:, None])

    def loss() -> Tensor:
        frames = torch.stack([mel(clip).clamp(min=1e-10).log().T for clip in clips])
        frames = F.pad(frames, (0, 0, 0, 2 * n_tokens - frames.shape[1]))
        frames = (frames - frames.mean((1, 2), keepdim=True)) / frames.std((1, 2), keepdim=True)
        return _peer_loss(peer, labels, frames.reshape(n, n_tokens, 128), places, peers.fused(causal=False))

    core = Transformer(d_model=192, n_layers=layers, n_heads=3, **VIT_PARTS)
    ours = classifier(core, lambda: labelled(tokenizer.encode_batch(list(clips))))
    return [ours, training("torchaudio and SimpleViT", peer, loss)]


def ragged(*, quick: bool) -> list[Contender]:
    """Texts of 16 to 512 tokens, 32 of them."""
    sizes = {"d_model": 96, "n_layers": 1, "n_heads": 2} if quick else {"d_model": 256, "n_layers": 4, "n_heads": 4}
    n_texts, longest, vocab_size = (3, 48, 2000) if quick else (32, 512, 5000)
    lengths = torch.randint(16, longest + 1, (n_texts,)).tolist()
    texts = [word(length, vocab_size) for length in lengths]
    ours = language_model(GPT2_PARTS, sizes, vocab_size, longest)
    peer = peers.GPT(**sizes, vocab_size=vocab_size, max_tokens=longest)
    ids, places = torch.cat([each.values for each in texts])[None], torch.cat([torch.arange(n) for n in lengths])[None]

    def singly(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parts = zip(*(each.split(lengths, 2) for each in (q, k, v)), strict=True)
        return torch.cat([F.scaled_dot_product_attention(*part, is_causal=True) for part in parts], 2)

    block, stands = torch.zeros(n_texts, longest, dtype=torch.long), torch.arange(longest).expand(n_texts, -1)
    for row, each in zip(block, texts, strict=True):
        row[: len(each)] = each.values
    beyond = stands >= torch.tensor(lengths)[:, None]
    even = ids[:, : ids.shape[1] // n_texts * n_texts].view(n_texts, -1)  # as many tokens, all texts equally long
    batch = collate([Sample(id=str(i), pieces=[each]) for i, each in enumerate(texts)])
    return [
        predicting("ours", ours, batch),
        training("one by one", peer, partial(peer.loss, ids, places, places == 0, singly)),
        training(
            "ideal: equally long",
            peer,
            partial(peer.loss, even, stands[:, : even.shape[1]], torch.zeros_like(even).bool()),
            alike=False,
        ),
        training("padded", peer, partial(peer.loss, block, stands, beyond | (stands == 0)), alike=False),
    ]


def mixed_sizes(*, quick: bool) -> list[Contender]:
    """Pictures of 4 x 4 to 16 x 16 patches, 32 of them, against the same padded to the largest."""
    layers, n, most = (1, 3, 6) if quick else (6, 32, 16)
    sizes = torch.randint(4, most + 1, (n, 2)).tolist()
    pieces = [picture(rows, columns, 48) for rows, columns in sizes]
    batch = labelled(pieces)
    core = Transformer(d_model=192, n_layers=layers, n_heads=3, **VIT_PARTS)
    peer = peers.ViT(192, layers, 3, 48, N_CLASSES)
    kept = nn.utils.rnn.pad_sequence([torch.ones(len(p)) for p in pieces], batch_first=True)
    vectors = nn.utils.rnn.pad_sequence([piece.values for piece in pieces], batch_first=True)
    waves = Sinusoidal(d_model=192, n_axes=2)
    places = nn.utils.rnn.pad_sequence([waves(piece.positions) for piece in pieces], batch_first=True)
    mask = kept.bool()[:, None, None, :]

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    loss = partial(_peer_loss, peer, batch.targets["label"], vectors, places, attend, kept)
    return [classifier(core, lambda: batch), training("padded", peer, loss, alike=False)]


def graph(n_nodes: int, n_edges: int, features: int) -> Tokens:
    """A graph of different edges, drawn evenly."""
    number = torch.randperm(n_nodes * n_nodes)[:n_edges] if n_nodes < 1000 else _different(n_nodes**2, n_edges)
    edges = torch.stack([number // n_nodes, number % n_nodes])
    return Tokens(
        values=torch.randn(n_nodes, features), positions=torch.zeros(n_nodes, 0), edges=edges, modality="graph"
    )


def _different(most: int, n: int) -> Tensor:
    return torch.unique(torch.randint(most, (n + n // 20,)))[torch.randperm(n)]


def afresh(batch: Batch) -> Batch:
    """The same batch as one that no step has read: what is remembered of a graph is not remembered of these."""
    part = batch.parts["graph"]
    assert part.edges is not None
    return replace(batch, parts={"graph": replace(part, edges=part.edges.clone())})


def graphs(
    pieces: Sequence[Tokens], d_model: int, n_layers: int, n_heads: int, read: Callable[[Batch], Batch]
) -> list[Contender]:
    """Attention along edges, against TransformerConv with the same feed-forward parts."""
    batch = labelled(pieces)
    core = Transformer(d_model=d_model, n_layers=n_layers, n_heads=n_heads, **GPT2_PARTS)
    peer = peers.GraphLayers(d_model, n_layers, n_heads, pieces[0].values.shape[1], N_CLASSES)
    return [
        classifier(core, lambda: read(batch), rule=Neighbours()),
        _along_edges("TransformerConv", peer, batch),
    ]


def _along_edges(name: str, peer: nn.Module, batch: Batch) -> Contender:
    part = batch.parts["graph"]
    sample = torch.repeat_interleave(torch.arange(len(batch)), batch.lengths)
    loss = partial(_peer_loss, peer, batch.targets["label"], part.values, part.edges, sample, len(batch))
    return training(name, peer, loss)


def molecules(*, quick: bool) -> list[Contender]:
    """128 graphs of 23 nodes and 50 edges, 4 layers of 64; other graphs in every step, as in training."""
    n, layers = (3, 1) if quick else (128, 4)
    return graphs([graph(23, 50, 16) for _ in range(n)], 64, layers, 4, read=afresh)


def gps(*, quick: bool) -> list[Contender]:
    """The same graphs, each layer along edges and over the whole graph, against GPSConv."""
    n, layers = (3, 1) if quick else (128, 4)
    pieces = [graph(23, 50, 16) for _ in range(n)]
    batch = labelled(pieces)
    half = {"norm": LayerNorm, "feedforward": partial(FeedForward, d_ff=64, activation="relu")}
    kinds = {"edges": LayerKind(rule=Neighbours()), "whole": LayerKind()}
    core = Transformer(d_model=64, n_layers=2 * layers, n_heads=4, pattern=["edges", "whole"], kinds=kinds, **half)
    # It pads every graph to the largest inside, which these graphs of one size do not feel.
    peer = peers.GPSLayers(64, layers, 4, 16, N_CLASSES)
    return [classifier(core, lambda: afresh(batch)), _along_edges("GPSConv", peer, batch)]


def large_graph(*, quick: bool) -> list[Contender]:
    """One graph of 20,000 nodes and 200,000 edges, the same in every step, 3 layers of 4 heads of 16."""
    n_nodes, n_edges, layers = (50, 300, 1) if quick else (20_000, 200_000, 3)
    return graphs([graph(n_nodes, n_edges, 16)], 64, layers, 4, read=lambda batch: batch)


def translation(*, quick: bool) -> list[Contender]:
    """Encoder and decoder: 3 + 3 layers of 256, 32 pairs of 64 and 64 tokens."""
    width, layers, n, length, vocab_size = (96, 1, 2, 40, 2000) if quick else (256, 3, 32, 64, 5000)
    pairs = [(word(length, vocab_size), word(length, vocab_size)) for _ in range(n)]
    encoder = Transformer(d_model=width, n_layers=layers, n_heads=4, **GPT2_PARTS)
    decoder = Transformer(d_model=width, n_layers=layers, n_heads=4, block=CrossBlock, **GPT2_PARTS)
    embedder = IdEmbedder(d_model=width, vocab_size=vocab_size, position=partial(Learned, sizes=[length]))
    ours = OmniFormer(
        core=EncoderDecoder(encoder=encoder, decoder=decoder),
        embedders={"text": embedder},
        heads={"lm": NextTokenHead(d_model=width, vocab_size=vocab_size)},
        rules={"lm": Causal()},
    )
    batch = collate([Sample(id=str(i), pieces=[read], answer=[said]) for i, (read, said) in enumerate(pairs)])
    peer = peers.Translator(width, layers, 4, vocab_size, length)
    source, target = (torch.stack([pair[side].values for pair in pairs]) for side in (0, 1))
    return [predicting("ours", ours, batch), training("torch.nn", peer, partial(peer.loss, source, target))]


def decoding(n: int, *, quick: bool) -> list[Contender]:
    """Greedy decoding of 256 tokens after 32, the model of `lm`, with the maps of the commands that write."""
    sizes = {"d_model": 64, "n_layers": 1, "n_heads": 2} if quick else {"d_model": 384, "n_layers": 6, "n_heads": 6}
    read, new, vocab_size = (8, 3, 2000) if quick else (32, 256, 5000)
    ours = language_model(GPT2_PARTS, sizes, vocab_size, read + new).eval()
    for_few_rows(ours)
    peer = peers.Cached(peers.GPT(**sizes, vocab_size=vocab_size, max_tokens=read + new).eval())
    prompts = torch.randint(vocab_size, (n, read))
    batch = collate([Sample(id=str(i), pieces=[], answer=[text(row)]) for i, row in enumerate(prompts)])
    steps = {
        "ours": (ours, lambda: write(ours, "lm", batch, strategy=Greedy(), max_new_tokens=new, cache="static")),
        "as litgpt": (peer.model, lambda: peer(prompts, new)),
    }
    return [
        Contender(name=name, step=step, n_parameters=parameters(of), traffic=4 * new * parameters(of))
        for name, (of, step) in steps.items()
    ]


def decoding_weights(*, quick: bool) -> list[Contender]:
    """Greedy decoding of one text by a peer of the size of `lm` in float32, by the model of `lm`, and by copies of it
    with rounded weights, with the maps of the commands that write.
    """
    sizes = {"d_model": 64, "n_layers": 1, "n_heads": 2} if quick else {"d_model": 384, "n_layers": 6, "n_heads": 6}
    read, new, vocab_size = (8, 3, 2000) if quick else (32, 256, 5000)
    plain = language_model(GPT2_PARTS, sizes, vocab_size, read + new).eval()
    prompt = torch.randint(vocab_size, (1, read))
    batch = collate([Sample(id="0", pieces=[], answer=[text(prompt[0])])])
    peer = peers.Cached(peers.GPT(**sizes, vocab_size=vocab_size, max_tokens=read + new).eval())
    n = parameters(plain)
    found = [Contender(name="as litgpt", step=partial(peer, prompt, new), n_parameters=n, traffic=4 * new * n)]
    for kind, n_bytes in {"float32": 4, "bf16": 2, "int8": 1}.items():
        model = copy.deepcopy(plain)
        if kind != "float32":
            quantize(model, cast(Weights, kind))
        for_few_rows(model)
        step = partial(write, model, "lm", batch, strategy=Greedy(), max_new_tokens=new, cache="static")
        found.append(
            Contender(name=kind, step=step, n_parameters=n, traffic=n_bytes * new * n, alike=kind == "float32")
        )
    return found


def joint(*, quick: bool) -> list[Contender]:
    """A batch of samples of four modalities in one pass, against the same core on each of them in turn."""
    n, layers = (2, 1) if quick else (16, 4)
    kinds = {
        "text": lambda: word(64, 500),
        "vision": lambda: picture(8, 8, 48),
        "audio": lambda: Tokens(values=torch.randn(50, 80), positions=torch.arange(50.0)[:, None], modality="audio"),
        "graph": lambda: graph(23, 50, 16),
    }
    width = 128
    core = Transformer(d_model=width, n_layers=layers, n_heads=4, **DEFAULT_PARTS)
    embedders: dict[str, nn.Module] = {
        "text": IdEmbedder(d_model=width, vocab_size=500),
        "vision": VectorEmbedder(d_model=width, features=48, axes=2),
        "audio": VectorEmbedder(d_model=width, features=80),
        "graph": VectorEmbedder(d_model=width, features=16, axes=0),
    }
    task = Classification(head=ClassificationHead(d_model=width, n_classes=N_CLASSES), n_classes=N_CLASSES)
    model = OmniFormer(core=core, embedders=embedders, heads={"x": task.head})
    apart = [labelled([make() for _ in range(n)]) for make in kinds.values()]
    pieces = [unpacked for batch in apart for unpacked in unpack(next(iter(batch.parts.values())))]
    together = labelled(pieces)

    def in_turn() -> Tensor:
        return torch.stack([task.step(model, batch, "x").loss for batch in apart]).mean()

    whole = training("ours, together", model, lambda: task.step(model, together, "x").loss)
    # Samples of other lengths in one batch are padded within attention, which is what is measured.
    return [whole, training("ours, in turn", model, in_turn, alike=False)]


def at_both(subject: Callable[..., list[Contender]], *, quick: bool) -> list[Contender]:
    """Every contender of a subject in float32, then every one with products of medium precision."""
    found = subject(quick=quick)
    return found + [at_medium(each) for each in found]


SUBJECTS: dict[str, Callable[..., list[Contender]]] = {
    "lm_gpt2": partial(at_both, partial(lm, GPT2_PARTS, bf16=False)),
    "lm_default": partial(at_both, partial(lm, DEFAULT_PARTS, bf16=False)),
    "lm_gpt2_bf16": partial(lm, GPT2_PARTS, bf16=True),
    "lm_default_bf16": partial(lm, DEFAULT_PARTS, bf16=True),
    "vit": partial(at_both, partial(vit, bf16=False)),
    "vit_bf16": partial(vit, bf16=True),
    "spectrogram": partial(at_both, spectrogram),
    "ragged": ragged,
    "mixed_sizes": mixed_sizes,
    "decoding_weights": decoding_weights,
    "molecules": partial(at_both, molecules),
    "gps": partial(at_both, gps),
    "large_graph": partial(at_both, large_graph),
    "translation": partial(at_both, translation),
    "decoding_1": partial(decoding, 1),
    "decoding_8": partial(decoding, 8),
    "joint": joint,
}
