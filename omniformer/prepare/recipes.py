"""What small sets of a kind are learned with, in the place of what suits all: each was found by measuring."""

from math import prod
from typing import Any

Node = dict[str, Any]
_KEPT = 1_000_000_000  # bytes of decoded pictures that are kept in memory
_FEW_TEXTS = 3_000  # rows up to which the core learns even more slowly: between 1,000, which ask for it, and 7,300


def few_pictures(keys: Node, tokenizer: Node, rows: int) -> None:
    """What 40 photos of each kind and 15 pictures of each digit were learned with (docs/results.md): each one seen a
    little elsewhere every time, convolutions that learn ten times as fast as the core, which else knows the few
    pictures by heart before they have found what to look for, a shallower core, and dropout before the classes.
    They are decoded once and kept as small as they are read, where all of them fit into memory.
    Pictures in colour, which are mostly photos, are mirrored; grey ones are often writing, of which that makes another.
    """
    jitter = {"shift": 0.1, "rotate": 10.0, "scale": 0.1} | ({"flip": 0.5} if tokenizer["channels"] != 1 else {})
    small = rows * prod(tokenizer["image_size"]) * tokenizer["channels"] < _KEPT
    keys["data"] |= {"cache": small, "augment": {"_target_": "omniformer.data.ImageJitter", **jitter}}
    keys["core"]["n_layers"] = 2
    keys["task"].setdefault("head", {})["dropout"] = 0.3
    keys["optim"] |= {"lr": 0.002, "lr_of": {"core.*": 0.0002}}


def many_classes(keys: Node) -> None:
    """What 200 characters of 14 pictures each were learned with (docs/trials.md): few pictures of many classes are not
    soon known by heart, so that three times the rate is what they lack, and dropout and smoothing only hold them up.
    """
    keys["core"]["dropout"] = 0.0
    keys["task"] |= {"head": {"dropout": 0.0}, "label_smoothing": 0.0}
    keys["optim"] |= {"lr": 0.006, "lr_of": {"core.*": 0.0006}}


def kinds_of_sounds(keys: Node, tokenizer: Node) -> None:
    """What 24 clips of five seconds of each of ten kinds were learned with (docs/results.md, ESC-10): as few pictures,
    but that each sound has a stripe of time and one of bands hidden every time, and that classes are read from the mean
    and the deviation of all tokens, of narrower convolutions. Spoken digits, which order tells apart, were not learned
    so well like that.
    """
    stripes = {"n_mels": tokenizer["n_mels"], "time_masks": 1, "max_time": 25, "band_masks": 1}
    keys["data"]["augment_tokens"] = {"_target_": "omniformer.data.SpecAugment", **stripes}
    keys["embedder"]["audio"]["width"] = 16
    keys["core"] |= {"d_model": 64, "n_layers": 2}
    keys["task"]["head"] = {
        "pool": {"_target_": "omniformer.heads.StatisticsPool", "_partial_": True},
        "norm": {"_target_": "omniformer.core.norm.LayerNorm", "_partial_": True},
        "dropout": 0.3,
    }
    keys["optim"] |= {"lr": 0.002, "lr_of": {"core.*": 0.0002}}


def words(keys: Node, tokenizer: Node) -> None:
    """What 12 recordings of each of ten digits were learned with (docs/results.md): stretched to one length, read by
    their places, a little louder, noisier and elsewhere every time, by a shallower core that drops out more.
    """
    n_tokens = tokenizer["stretch_to"] // tokenizer["frames_per_token"]
    keys["data"] |= {
        "cache": False,
        "augment": {"_target_": "omniformer.data.AudioJitter", "gain": 6.0, "shift": 0.05, "noise": -30.0},
    }
    keys["core"] |= {"n_layers": 2, "dropout": 0.3}
    keys["task"]["head"] = {"pool": {"_target_": "omniformer.heads.FlatPool", "_partial_": True, "n_tokens": n_tokens}}


def classes_of_texts(keys: Node, rows: int) -> None:
    """What 1,000 and 7,300 requests were learned with (docs/trials.md), which holds for as many texts as are read by
    words with their letters: a bag of words and stretches of letters that each are left out by chance, so that none of
    them decides alone; a norm of their mean in the place of one of each word, so that words that tell much may be
    larger than others; classes told apart without smoothing; and a shallow core that learns at a tenth of the rate, of
    few texts at a hundredth, which else knows the texts by heart before words and letters have found what they mean.
    """
    keys["embedder"]["text"] |= {"init_std": 0.15, "dropout": 0.3, "ngram_dropout": 0.5}
    keys["core"] |= {"n_layers": 1, "final_norm": False}
    norm = {"_target_": "omniformer.core.norm.RMSNorm", "_partial_": True}
    keys["task"] |= {"head": {"norm": norm}, "label_smoothing": 0.0}
    keys["optim"] |= {"lr": 0.004, "lr_of": {"core.*": 0.00004 if rows < _FEW_TEXTS else 0.0004}}
