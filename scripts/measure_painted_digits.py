"""Whether a diffusion model paints the digits that it is asked for, as a classifier of real digits sees them.

Run, in about ten minutes on one CPU core:

    python -m omniformer.train experiment=digits_diffusion data=digit_words tokenizer.vision.patch_size=2 \
        core.encoder.d_model=64 core.decoder.d_model=64 core.decoder.n_layers=3 optim.lr=0.003 trainer.max_epochs=75 \
        trainer.check_val_every_n_epoch=15 callbacks.ema.decay=0.99
    python scripts/measure_painted_digits.py outputs/digits_diffusion/<time>

It paints 20 pictures of each digit in several ways and prints the share of them that a support vector machine, trained
on the real training pictures, takes for the digit that was asked for; and how bright and how varied they are beside the
real ones.
"""

import argparse

import numpy as np
import torch
from omniformer_tokenizers import unpack
from sklearn.svm import SVC

import omniformer
from omniformer.batch import Sample, collate
from omniformer.data import Digits
from omniformer.data.source import Split
from omniformer.generation.diffusion import denoise

NAME = "digits_diffusion"
WAYS = [
    {"steps": 50, "guidance": 0.0, "eta": 0.0},
    {"steps": 50, "guidance": 1.0, "eta": 0.0},
    {"steps": 50, "guidance": 3.0, "eta": 0.0},
    {"steps": 10, "guidance": 3.0, "eta": 0.0},
    {"steps": 200, "guidance": 1.0, "eta": 1.0},
    {"steps": 200, "guidance": 3.0, "eta": 1.0},
]


def real(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Pixels 0..1 `[samples, 64]` and digits of the real pictures."""
    raws = Digits().split(split)
    pixels = np.stack([raw.contents["vision"].numpy().ravel() for raw in raws]) / 255
    return pixels, np.array([int(raw.targets["label"]) for raw in raws])


def main() -> None:
    """Paints and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the folder of a run of experiment=digits_diffusion data=digit_words")
    parser.add_argument("--each", type=int, default=20, help="pictures of each digit")
    options = parser.parse_args()

    pixels, digits = real("train")
    classifier = SVC(C=10).fit(pixels, digits)
    print(f"real test pictures: {classifier.score(*real('test')):.3f} recognised")
    print(f"real training pictures: mean {pixels.mean():.3f}, deviation {pixels.std():.3f}\n")

    predictor = omniformer.load(options.run)
    text, patches = (predictor.members[NAME].tokenizers[modality] for modality in ("text", "vision"))
    words, blank = predictor.members[NAME].labels, patches(torch.zeros(1, 8, 8))
    asked = np.repeat(np.arange(10), options.each)
    batch = collate(
        [
            Sample(id=f"{words[digit]} {i}", pieces=[text(words[digit])], answer=[blank])
            for i, digit in enumerate(asked.tolist())
        ]
    )
    print("| steps | guidance | eta | recognised as asked | mean | deviation |\n|---|---|---|---|---|---|")
    for way in WAYS:
        made = unpack(denoise(predictor.model, NAME, batch, **way))
        painted = np.stack([patches.decode(tokens).numpy().ravel() for tokens in made]) / 255
        right = (classifier.predict(painted) == asked).mean()
        row = [
            way["steps"],
            way["guidance"],
            way["eta"],
            f"{right:.3f}",
            f"{painted.mean():.3f}",
            f"{painted.std():.3f}",
        ]
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
