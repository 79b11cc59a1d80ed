"""Tokenizers, task, core and length of a run, as the keys of an experiment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import yaml

from omniformer import tasks
from omniformer.config.folder import conf_dir
from omniformer.prepare import recipes
from omniformer.prepare.choice import CONSTANT, Choice
from omniformer.prepare.contents import SPOKEN, Contents
from omniformer.prepare.sizes import frames_per_token, frames_to_write, patch, picture_size, sizes, vocabulary

Node = dict[str, Any]
_GROUPS = ("text", "vision", "audio", "graph")  # modalities with a group of their own, which brings lr and name
_EMBEDDERS = {  # of tokenizers; vectors of all others
    "BPETokenizer": "IdEmbedder",
    "SpelledWordTokenizer": "NGramEmbedder",
    "PatchTokenizer": "GridStem",
    "GraphTokenizer": "NodeEmbedder",
    "MoleculeTokenizer": "NodeEmbedder",
}
_NEIGHBOURS: Node = {  # nodes read those that they are joined to and themselves, as conf/task/graph_labels.yaml has it
    "rule": {
        "_target_": "omniformer.core.rules.any_of",
        "rules": {
            "neighbours": {"_target_": "omniformer.core.rules.Neighbours"},
            "itself": {"_target_": "omniformer.core.rules.Self"},
        },
    }
}
# The larger a graph, the more is added up, which a mean would not know; and not node by node (docs/results.md, ESOL).
_READOUT: Node = {"pool": {"_target_": "omniformer.heads.DenseSumPool", "_partial_": True}}
_SUMMED = 100  # nodes of a graph up to which classes are read from sums; of molecules it was measured that they gain
_AXES = {"vision": 2, "series": 2, "video": 3}  # of positions; one of all others
_RATES = {"ctc": 0.002}  # where another than that of `sizes` is needed: to leave behind that all frames say nothing
_MANY_CLASSES = 50  # of pictures: of 10 and of 200 it was measured what they need
_LONG = 2.0  # seconds of a sound from which on kinds are told by what it is like; shorter ones are often words
_UNLIKE = 1.1  # times as long as a quarter of the sounds are a quarter of them, where they are of different lengths
_PASSES_OF_TEXTS = 6  # of training: in as many 7,300 texts were learned (docs/trials.md)
_LONGEST = 1024  # tokens of a text: a longer one is cut, which the report says


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a run should be.

    Args:
        groups: options by group, in the order of an experiment's `defaults`.
        keys: what stands beside them.
        metric: what validations are compared by, and which way it is better.
    """

    groups: dict[str, str | None]
    keys: Node
    metric: str


def tokenizers(choice: Choice, contents: Mapping[str, Contents], rows: int) -> dict[str, Node]:
    """The tokenizer of each modality that is given or written.

    Args:
        choice: what the columns are for.
        contents: what samples hold.
        rows: of training.
    """
    roles = choice.roles
    exact = bool(roles.answers or roles.targets.keys() & {"span.text", "span"})
    of_words = "token_labels" in roles.targets
    made: dict[str, Callable[[Contents], Node]] = {
        "text": lambda seen: _of_text(exact, of_words, rows),
        "vision": lambda seen: _of_pictures(seen, rows),
        "audio": lambda seen: (_of_kinds if _has_kinds_of_sounds(choice, rows) else _of_sounds)(seen),
        "graph": _of_graphs,
        "series": lambda seen: _node("SeriesTokenizer", patch_length=_steps(seen)),
        "video": lambda seen: _node("TubeletTokenizer", frames=2, patch_size=16),
    }
    return {name: made[name](contents.get(name, Contents())) for name in dict.fromkeys([*roles.given, *roles.answers])}


def _of_text(exact: bool, of_words: bool, rows: int) -> Node:
    """Words, but where single characters must be found again, in answers and spans; capitals tell kinds of words."""
    kind, size = vocabulary(rows)
    if exact or kind == "BPETokenizer":
        return _node("BPETokenizer", vocab_size=size if rows >= 5_000 else 1024)
    return _node(kind, vocab_size=size, lowercase=not of_words)


def _of_pictures(seen: Contents, rows: int) -> Node:
    """Pictures of one size as they are, where patches fill it and it is not large; others in one size."""
    every = [*zip(seen.measures.get("height", ()), seen.measures.get("width", ()), strict=True)]
    height, width = _usual(every) if every else (128, 128)
    channels = 1 if set(seen.measures.get("colours", (3,))) == {1} else 3
    side, size = patch(height, width), picture_size(height, width, rows, channels)
    fills = all(each >= side and each % side == 0 for each in (height, width))
    if len({*every}) == 1 and fills and height * width <= size[0] * size[1]:
        size = height, width
    return _node("PatchTokenizer", patch_size=patch(*size), channels=channels, image_size=[*size])


def _usual(sizes: Sequence[tuple[float, float]]) -> tuple[int, int]:
    """The height and width of the middle shape and area: of squares of two sizes beside pictures as long as the larger
    one, the middle height and the middle width would make a shape that none of them has.
    """
    shape = median(height / width for height, width in sizes)
    area = median(height * width for height, width in sizes)
    return round((area * shape) ** 0.5), round((area / shape) ** 0.5)


def _shape(seen: Contents) -> Node:
    """Windows of 25 ms every 10 ms, of as many bands as the rate has room for."""
    low = seen.middle("rate", 16_000) < 16_000
    return (
        {"sample_rate": 8000, "n_mels": 40, "n_fft": 256, "hop_length": 80}
        if low
        else {"sample_rate": 16_000, "n_mels": 64, "n_fft": 400, "hop_length": 160}
    )


def _of_sounds(seen: Contents) -> Node:
    shape = _shape(seen)
    if spoken := seen.measures.get(SPOKEN):
        frames = frames_to_write(seen.middle(SPOKEN, 1.0), max(spoken))
    else:
        frames = frames_per_token(seen.middle("seconds", 1.0))
    return _node("SpectrogramTokenizer", **shape, frames_per_token=frames)


def _has_kinds_of_sounds(choice: Choice, rows: int) -> bool:
    """Whether a sound is all that is given and its class what is asked for, by a small core."""
    roles = choice.roles
    plain = list(roles.given) == ["audio"] and not roles.answers and "label" in roles.targets
    return plain and sizes(rows, 1)["core"] == "tiny"


def _of_kinds(seen: Contents) -> Node:
    """Long sounds as pictures: tiles of 16 frames of 20 ms and 16 bands. Short ones are often words: where recordings
    differ in length, they are taken to begin and end with the word, and all are stretched to as many frames; of one
    length, it stands anywhere in them.
    """
    shape, side = _shape(seen), 16
    if seen.middle("seconds", 1.0) >= _LONG:
        cut = {"n_mels": shape["n_mels"] // side * side, "hop_length": 2 * shape["hop_length"]}
        return _node("SpectrogramTokenizer", **(shape | cut), frames_per_token=side, bands_per_token=side, top_db=80.0)
    lengths = sorted(seen.measures.get("seconds", [1.0]))
    if lengths[3 * len(lengths) // 4] <= _UNLIKE * lengths[len(lengths) // 4]:
        return _of_sounds(seen)
    return _node("SpectrogramTokenizer", **shape, frames_per_token=2, stretch_to=32)


def _of_graphs(seen: Contents) -> Node:
    if "nodes" in seen.measures:  # objects; else SMILES
        return _node("GraphTokenizer", random_walk=8)
    return _node("MoleculeTokenizer", max_degree=11, random_walk=8)


def _has_bonds(seen: Contents) -> bool:
    """Whether edges are of kinds that a bias could tell apart: those of molecules, and of objects that say so."""
    return "nodes" not in seen.measures or "edge_features" in seen.measures


def _steps(seen: Contents) -> int:
    """An eighth of a series, 16 steps at most, makes a token."""
    return int(min(max(seen.middle("steps", 128) // 8, 1), 16))


def _node(name: str, **arguments: Any) -> Node:
    return {"_target_": f"omniformer_tokenizers.{name}", **arguments}


def propose(
    choice: Choice,
    nodes: Mapping[str, Node],
    contents: Mapping[str, Contents],
    *,
    rows: int,
    tokens: float,
    labels: Sequence[str],
) -> Proposal:
    """The run.

    Args:
        choice: what the columns are for.
        nodes: the tokenizers.
        contents: what samples hold, lengths in tokens among it.
        rows: of training.
        tokens: of a sample, on average.
        labels: the names of the classes.
    """
    roles, task = choice.roles, _task(choice)
    given = list(roles.given)
    writes = given == ["text"] and "text" in roles.answers
    spelled = given == ["text"] and nodes["text"]["_target_"].endswith("SpelledWordTokenizer")
    of_texts = spelled and task == "classification"
    size = sizes(rows, tokens, passes=_PASSES_OF_TEXTS if of_texts else None)
    core = "encoder_decoder_tiny" if writes else size["core"]
    groups: dict[str, str | None] = {
        "modality": next((each for each in given if each in _GROUPS), "vision"),
        "tokenizer": None,
        "embedder": None,
        "data": "table",
        "task": task,
        "core": core,
    }
    if not writes and (axes := max(_axes(name, nodes[name]) for name in given)) != 2:  # 2 is what the cores come with
        groups["core/rotary"] = {1: "one_axis", 3: "three_axes"}[axes]
    if given == ["graph"]:
        groups["core/block"] = "messages"  # sums count neighbours, as attention cannot: docs/results.md, ESOL
        if _has_bonds(contents.get("graph", Contents())):
            groups["core/pair_bias"] = "edges"
    dropout = {"dropout": size["dropout"]}
    keys: Node = {
        "tokenizer": dict(nodes),
        "embedder": {name: _node_of_embedder(node, size["dropout"]) for name, node in nodes.items()},
        "core": {"encoder": dropout} if writes else dropout,
        "task": _of_task(task, choice, contents),
        "data": {"batch_size": size["batch_size"], "cache": "video" not in given and rows * tokens < 20_000_000},
        "optim": {"lr": _RATES.get(task, size["lr"]), "weight_decay": 0.1},
        "steps_per_epoch": size["steps_per_epoch"],
        "trainer": {"max_epochs": size["epochs"]},
    }
    if given == ["vision"] and not roles.answers and size["core"] == "tiny":
        recipes.few_pictures(keys, nodes["vision"], rows)
        if task == "classification" and len(labels) >= _MANY_CLASSES:
            recipes.many_classes(keys)
    if "bands_per_token" in nodes.get("audio", {}):
        recipes.kinds_of_sounds(keys, nodes["audio"])
    if "stretch_to" in nodes.get("audio", {}):
        recipes.words(keys, nodes["audio"])
    if of_texts:
        recipes.classes_of_texts(keys, rows)
    if max(contents.get("text", Contents()).measures.get("tokens") or [0]) > _LONGEST:
        keys["data"]["max_tokens"] = _LONGEST
    return Proposal(
        groups=groups, keys={key: value for key, value in keys.items() if value}, metric=_metric(task, labels)
    )


def _axes(name: str, tokenizer: Node) -> int:
    """Of a token's position: tiles of a spectrogram have a time and a place among the bands."""
    return 2 if "bands_per_token" in tokenizer else _AXES.get(name, 1)


def _node_of_embedder(tokenizer: Node, dropout: float) -> Node:
    """What reads the tokens; tables of words drop out as the core does, as they hold most of the weights."""
    plain = "GridStem" if "bands_per_token" in tokenizer else "VectorEmbedder"
    kind = _EMBEDDERS.get(tokenizer["_target_"].rpartition(".")[2], plain)
    tables = {"IdEmbedder": dropout, "NGramEmbedder": 0.5}
    return {"_target_": f"omniformer.embedders.{kind}", **({"dropout": tables[kind]} if kind in tables else {})}


def _task(choice: Choice) -> str:
    """The group of the task: what the target is, and how much of the sample it is about."""
    targets, answers, given = choice.roles.targets, choice.roles.answers, list(choice.roles.given)
    if "label" in targets:
        return "classification"
    if "labels" in targets:
        return "graph_labels" if given == ["graph"] else "multi_label"
    if "value" in targets:
        return "regression"
    if "token_labels" in targets:
        return "token_classification" if "text" in given else "node_classification"
    if "span" in targets or "span.text" in targets:
        return "span_prediction"
    if "text" in answers:
        return "seq2seq" if given == ["text"] else "ctc" if given == ["audio"] else "captioning"
    if len(given) > 1:
        return "contrastive"
    raise ValueError(f"nothing is to be predicted of {', '.join(given)}: {_instead(choice)}")


def _instead(choice: Choice) -> str:
    """What to do where no column is to be predicted."""
    constant = [name for name, why in choice.left_out.items() if why == CONSTANT]
    told = f"all cells of {', '.join(constant)} are the same, of which nothing can be learned; " if constant else ""
    if len(texts := choice.roles.given.get("text", ())) > 1:
        return f"{told}name the text that is to be written, with --target, of {', '.join(map(repr, texts))}"
    return (
        f"{told}name a column with --target NAME; to learn a language from texts alone there is omniformer train "
        "modality=text data=text_files"
    )


def _of_task(task: str, choice: Choice, contents: Mapping[str, Contents]) -> Node:
    roles = choice.roles
    of_graphs = list(roles.given) == ["graph"]
    if task == "regression":
        n = len(roles.targets["value"])
        head: Node = {"n_outputs": n} if n > 1 else {}
        if of_graphs:
            head |= _READOUT
        return ({"head": head} if head else {}) | (_NEIGHBOURS if of_graphs else {})
    if task == "classification" and of_graphs:
        small = contents.get("graph", Contents()).middle("tokens", 0) <= _SUMMED
        return ({"head": _READOUT} if small else {}) | _NEIGHBOURS
    if task == "contrastive":
        return {"head": {"modalities": list(roles.given)}}
    if task in ("seq2seq", "captioning"):
        return {"max_new_tokens": int(max(contents["text"].measures.get("tokens") or [32])) + 8}
    return {}


def _metric(task: str, labels: Sequence[str]) -> str:
    node = yaml.safe_load((conf_dir() / "task" / f"{task}.yaml").read_text(encoding="utf-8"))
    watched = getattr(tasks, node["_target_"].rpartition(".")[2]).watched_for(labels)
    return f"{watched.metric} ({watched.mode})"
