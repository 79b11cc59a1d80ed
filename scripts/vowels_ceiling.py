"""How well classical classifiers tell the synthesised vowels apart: the yardstick for `modality=audio`.

Run: `python scripts/vowels_ceiling.py` (half a minute). It prints the accuracy on the test speakers of classifiers that
know the true formants, which is about the ceiling, and of ones that measure formants from the sound by linear
prediction, which is what could be had without learning features.
"""

import numpy as np
from numpy.typing import NDArray

from omniformer.data.sets.vowels import SAMPLE_RATE, Vowels
from omniformer.data.source import Split

Floats = NDArray[np.float64]


def true_frequencies(vowels: Vowels, split: Split) -> Floats:
    """Log F0, F1, F2, F3 that the recordings of a split were made from."""
    return np.log([[u.f0, *u.formants] for u in vowels.utterances(split)])


def measured_formants(wave: Floats, order: int = 10) -> Floats:
    """Log F1, F2, F3 by linear prediction (autocorrelation method), as medians over frames of 32 ms."""
    from scipy.linalg import solve_toeplitz

    size, hop = 256, 80
    wave = np.append(wave[0], wave[1:] - 0.97 * wave[:-1])
    rows = []
    for start in range(0, len(wave) - size, hop):
        frame = wave[start : start + size] * np.hamming(size)
        correlation = np.correlate(frame, frame, "full")[size - 1 : size + order]
        correlation[0] *= 1 + 1e-6  # keeps the equations solvable in silence
        roots = np.roots(np.append(1, -solve_toeplitz(correlation[:-1], correlation[1:])))
        roots = roots[roots.imag > 0]
        frequencies = np.angle(roots) * SAMPLE_RATE / (2 * np.pi)
        bandwidths = -np.log(np.abs(roots)) * SAMPLE_RATE / np.pi
        formants = np.sort(frequencies[(frequencies > 150) & (bandwidths < 500)])[:3]
        if len(formants) == 3:
            rows.append(formants)
    return np.log(np.median(rows, axis=0)) if rows else np.log([500.0, 1500.0, 2500.0])


def main() -> None:
    """Fits on the training speakers, prints the accuracy on the test speakers."""
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    vowels = Vowels()
    splits: tuple[Split, Split] = ("train", "test")
    label = {s: np.array([u.vowel for u in vowels.utterances(s)]) for s in splits}
    truth = {s: true_frequencies(vowels, s) for s in splits}
    waves = {s: [raw.contents["audio"][0].double().numpy() for raw in vowels.split(s)] for s in splits}
    measured = {s: np.stack([measured_formants(wave) for wave in waves[s]]) for s in splits}
    features = {
        "true F1 F2": {s: truth[s][:, 1:3] for s in splits},
        "true F1 F2 F3": {s: truth[s][:, 1:] for s in splits},
        "true F0 F1 F2 F3": truth,
        "measured F1 F2 F3": measured,
    }
    for name, feature in features.items():
        for kind, model in {"quadratic": QuadraticDiscriminantAnalysis(), "SVM": SVC(C=10)}.items():
            fitted = make_pipeline(StandardScaler(), model).fit(feature["train"], label["train"])
            print(f"{name:20}{kind:12}{fitted.score(feature['test'], label['test']):.3f}")


if __name__ == "__main__":
    main()
