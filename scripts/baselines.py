"""The nearest neighbour of emoji by words and by pixels, for the table of docs/results.md; `omniformer baseline` has
the simple methods of all other kinds of data.

Run: `uv run python scripts/baselines.py --data-root DATA`. The method is tuned on nothing; test is read once.
"""

import argparse

import numpy as np
import torch
from torch.nn import functional as F


def main() -> None:
    """Prints one line for each direction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="the folder of data sets")
    for line in emoji(parser.parse_args().data_root):
        print(line)


def emoji(root: str) -> list[str]:
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


if __name__ == "__main__":
    main()
