"""Simple or well-known methods on the same splits as our experiments, for the tables of docs/results.md.

Run: `uv run python scripts/baselines.py cora mutag esol intents spoken_digits emoji translation --data-root DATA`
(about 10 minutes on 2 CPU cores for all of them). Each method is tuned on nothing or on validation; test is read once.
"""

import argparse
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def main() -> None:
    """Prints one line for each baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=sorted(BASELINES))
    parser.add_argument("--data-root", required=True, help="the folder of data sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for name in given.names:
        begun = time.perf_counter()
        for line in BASELINES[name](given.data_root, given.seeds):
            print(f"{name}: {line}", flush=True)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)


def spread(values: Sequence[float]) -> str:
    """Mean, and largest less smallest."""
    return f"{statistics.mean(values):.4f} (spread {max(values) - min(values):.4f})"


def first_of(scored: tuple[float, float]) -> float:
    """The validation score of a pair of validation and test."""
    return scored[0]


def cora(root: str, seeds: Sequence[int]) -> list[str]:
    """PyG's GCN with the settings of Kipf and Welling (2017): 16 hidden, dropout 0.5, weight decay 5e-4, 200 epochs."""
    from torch_geometric.nn import GCNConv

    from omniformer.data import Cora

    splits = {name: Cora(data_root=root).split(name)[0] for name in ("train", "val", "test")}
    graph, label = splits["train"].contents["graph"], splits["train"].token_targets["label"]
    x, edges = graph["node_features"], torch.as_tensor(graph["edges"]).T.contiguous()
    masks = {name: raw.token_targets["mask"] for name, raw in splits.items()}
    scores = []
    for seed in seeds:
        torch.manual_seed(seed)
        first, second = GCNConv(x.shape[1], 16), GCNConv(16, 7)

        def forward(train: bool, first: nn.Module = first, second: nn.Module = second) -> Tensor:
            hidden = F.dropout(first(F.dropout(x, 0.5, train), edges).relu(), 0.5, train)
            return second(hidden, edges)

        groups = [{"params": first.parameters(), "weight_decay": 5e-4}, {"params": second.parameters()}]
        optimizer = torch.optim.Adam(groups, lr=0.01)
        best = (-1.0, 0.0)
        for _ in range(200):
            optimizer.zero_grad()
            F.cross_entropy(forward(True)[masks["train"]], label[masks["train"]]).backward()
            optimizer.step()
            with torch.no_grad():
                right = forward(False).argmax(-1) == label
            scored = [right[masks[n]].float().mean().item() for n in ("val", "test")]
            best = max(best, (scored[0], scored[1]), key=first_of)  # the first of equals: test decides nothing
        scores.append(best[1])
    return [f"GCN (PyG), test accuracy at the best validation {spread(scores)}"]


class GIN(nn.Module):
    """PyG's GIN (Xu et al. 2019) with sum pooling, over categorical node fields."""

    def __init__(self, vocab_sizes: Sequence[int], outputs: int, width: int = 64, layers: int = 4) -> None:
        super().__init__()
        from torch_geometric import nn as pyg

        self.fields = nn.ModuleList(nn.Embedding(size, width) for size in vocab_sizes)
        self.convolutions = pyg.GIN(width, width, layers, norm="batch_norm", dropout=0.2)
        self.pool: Any = pyg.global_add_pool
        self.out = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, data: Any) -> Tensor:
        """Logits or values of each graph."""
        x = sum(field(data.x[:, i]) for i, field in enumerate(self.fields))
        return self.out(self.pool(self.convolutions(x, data.edge_index), data.batch))


def gin_score(source: Any, outputs: int, loss: Callable[..., Tensor], score: Callable[..., float], seed: int) -> float:
    """The test score of the epoch that is best on validation."""
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader

    def graphs(name: Any) -> list[Any]:
        found = []
        for raw in source.split(name):
            graph = raw.contents["graph"]
            edges = torch.as_tensor(graph["edges"]).reshape(-1, 2).T.contiguous()
            target = raw.targets["label"] if "label" in raw.targets else raw.targets["value"]
            found.append(Data(x=torch.as_tensor(graph["node_features"]).long(), edge_index=edges, y=target.reshape(1)))
        return found

    torch.manual_seed(seed)
    loaders = {
        name: DataLoader(graphs(name), batch_size=32, shuffle=name == "train") for name in ("train", "val", "test")
    }
    model = GIN(source.facts["node_vocab_sizes"], outputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    best = (-float("inf"), 0.0)
    for _ in range(100):
        model.train()
        for data in loaders["train"]:
            optimizer.zero_grad()
            loss(model(data), data.y).backward()
            optimizer.step()
        schedule.step()
        model.eval()
        with torch.no_grad():
            scored = [
                score(torch.cat([model(data) for data in loaders[n]]), torch.cat([data.y for data in loaders[n]]))
                for n in ("val", "test")
            ]
        best = max(best, (scored[0], scored[1]), key=first_of)
    return best[1]


def mutag(root: str, seeds: Sequence[int]) -> list[str]:
    """GIN by PyG on the same ten folds, the fold after the test fold for validation."""
    from omniformer.data import TUGraphs

    def right(out: Tensor, y: Tensor) -> float:
        return (out.argmax(-1) == y).float().mean().item()

    folds = [TUGraphs(data_root=root, dataset="MUTAG", fold=fold) for fold in range(10)]
    scores = [gin_score(source, 2, F.cross_entropy, right, seeds[0]) for source in folds]
    return [f"GIN (PyG), ten folds: accuracy {statistics.mean(scores):.4f} +- {statistics.stdev(scores):.4f}"]


def esol(root: str, seeds: Sequence[int]) -> list[str]:
    """GIN by PyG on the same split, targets standardised."""
    from omniformer.data import known
    from omniformer.data.units import units

    source = known("esol", data_root=root)
    mean, std = (each[0] for each in units(source.split("train")).values())

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(out[:, 0], (y - mean) / std)

    def negative_rmse(out: Tensor, y: Tensor) -> float:
        return -F.mse_loss(out[:, 0] * std + mean, y).sqrt().item()

    return [f"GIN (PyG), test RMSE {spread([-gin_score(source, 1, loss, negative_rmse, seed) for seed in seeds])}"]


def intents(root: str, seeds: Sequence[int]) -> list[str]:
    """A linear support vector machine on words and pairs of words; its strength is chosen on validation."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    from omniformer.data import Clinc150

    source = Clinc150(data_root=root)
    outside = source.labels.index("oos")
    raws = {name: source.split(name) for name in ("train", "val", "test")}
    y = {name: np.array([int(raw.targets["label"]) for raw in rows]) for name, rows in raws.items()}
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(raw.contents["text"] for raw in raws["train"])
    x = {name: words.transform([raw.contents["text"] for raw in rows]) for name, rows in raws.items()}
    models = [LinearSVC(C=c, random_state=seeds[0]).fit(x["train"], y["train"]) for c in (0.25, 0.5, 1, 2, 4)]
    best = max(models, key=lambda model: model.score(x["val"], y["val"]))
    found = best.predict(x["test"])
    inside = y["test"] != outside
    accuracy = np.mean(found[inside] == y["test"][inside])
    recall = np.mean(found[~inside] == outside)
    return [f"linear SVM (C={best.C}): in-scope accuracy {accuracy:.4f}, out-of-scope recall {recall:.4f}"]


def spoken_digits(root: str, seeds: Sequence[int]) -> list[str]:
    """A support vector machine on a log-mel picture of 32 bands and 16 moments."""
    from omniformer_tokenizers import SpectrogramTokenizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from omniformer.data import SpokenDigits

    tokenizer = SpectrogramTokenizer(sample_rate=8000, n_mels=32, n_fft=256, hop_length=80, frames_per_token=1)

    def rows(source: Any, name: Any) -> tuple[np.ndarray, np.ndarray]:
        frames = [tokenizer(raw.contents["audio"]).values.T[None] for raw in source.split(name)]
        pictures = [F.interpolate(each, size=16, mode="linear", align_corners=False)[0].flatten() for each in frames]
        return torch.stack(pictures).numpy(), np.array([int(raw.targets["label"]) for raw in source.split(name)])

    lines = []
    for speaker in (None, "theo"):
        source = SpokenDigits(data_root=root, speaker=speaker)
        model = make_pipeline(StandardScaler(), SVC(C=10)).fit(*rows(source, "train"))
        lines.append(
            f"SVM on log-mel, {speaker or 'nobody'} held out: accuracy {model.score(*rows(source, 'test')):.4f}"
        )
    return lines


def emoji(root: str, seeds: Sequence[int]) -> list[str]:
    """Nearest neighbours: a name's nearest training name by words lends its picture, compared by pixels; and back."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from omniformer.data import Emoji

    source = Emoji(data_root=root)
    raws = {name: source.split(name) for name in ("train", "test")}
    words = TfidfVectorizer().fit(raw.contents["text"] for raw in raws["train"])
    text = {name: words.transform([raw.contents["text"] for raw in rows]).toarray() for name, rows in raws.items()}
    image = {
        name: F.normalize(
            F.avg_pool2d(torch.stack([raw.contents["vision"] for raw in rows]).float(), 4).flatten(1) - 255
        ).numpy()
        for name, rows in raws.items()
    }
    lines = []
    for title, given, other in (("text to image", text, image), ("image to text", image, text)):
        lent = other["train"][(given["test"] @ given["train"].T).argmax(1)]
        scores = lent @ other["test"].T
        own = scores[np.arange(len(scores)), np.arange(len(scores))]
        rank = (scores > own[:, None]).sum(1) + ((scores == own[:, None]).sum(1) - 1) / 2
        lines.append(f"nearest neighbour, {title}: recall@1 {(rank < 1).mean():.4f}, recall@5 {(rank < 5).mean():.4f}")
    return lines


def translation(root: str, seeds: Sequence[int]) -> list[str]:
    """Word by word with the lexicon of IBM model 1 (Brown et al. 1993), five rounds of expectation maximisation."""
    import re

    from omniformer.data import Multi30k
    from omniformer.tasks.texts import BLEU

    source = Multi30k(data_root=root)

    def split(text: str) -> list[str]:
        return re.findall(r"\w+|[^\w\s]", text)

    pairs = [(split(raw.contents["text"]), split(raw.answer["text"])) for raw in source.split("train")]
    table: dict[str, dict[str, float]] = {}
    for _ in range(5):
        counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for english, german in pairs:
            for word in german:
                chances = [table[e].get(word, 1e-9) if table else 1.0 for e in english]
                total = sum(chances)
                for e, chance in zip(english, chances, strict=True):
                    counts[e][word] += chance / total
        table = {e: {g: n / sum(row.values()) for g, n in row.items()} for e, row in counts.items()}
    lexicon = {e: max(row, key=row.__getitem__) for e, row in table.items()}
    bleu = BLEU()
    for raw in source.split("test"):
        written = re.sub(r" ([.,!?])", r"\1", " ".join(lexicon.get(word, word) for word in split(raw.contents["text"])))
        bleu.update([written], [[raw.answer["text"]]])
    return [f"word by word (IBM model 1): BLEU {bleu.compute().item():.2f}"]


BASELINES: dict[str, Callable[[str, Sequence[int]], list[str]]] = {
    "cora": cora,
    "mutag": mutag,
    "esol": esol,
    "intents": intents,
    "spoken_digits": spoken_digits,
    "emoji": emoji,
    "translation": translation,
}


if __name__ == "__main__":
    main()
