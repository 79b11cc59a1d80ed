"""Times published models in our core against the library they come from, with the same weights, and prints the ratios.

    python scripts/benchmark_pretrained.py [--rounds 7] [--json results.json] [--only bert gpt2]

Weights are random and of the published widths, four layers deep. Each pair computes the same: outputs are compared
first. The two take turns, round after round, so that a busy machine hurts both alike; the ratio is the median over
rounds of (their seconds / our seconds) in the same round: above 1, ours is faster. Needs the library transformers.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omniformer import pretrained

LAYERS = 4
LENGTHS = (512, 37, 160, 64, 250, 18, 96, 33)
Pair = tuple[Callable[[], Tensor], Callable[[], Tensor]]


def main() -> None:
    """Runs the chosen comparisons."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write all seconds there")
    parser.add_argument("--only", nargs="*", choices=[*MODELS], default=[*MODELS])
    arguments = parser.parse_args()
    found = {}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {LAYERS} layers, lengths {LENGTHS}")
    print(f"{'what':42} {'ours min':>9} {'median':>9} {'CPU':>9} {'theirs':>9} {'median':>9} {'CPU':>9} {'ratio':>6}")
    for name in arguments.only:
        theirs, inputs, taken = MODELS[name]()
        with tempfile.TemporaryDirectory() as folder:
            theirs.save_pretrained(folder)
            model = pretrained.load(folder)
        ours = pretrained.as_reference(model).eval()
        for title, pair in pairs(ours, theirs.eval(), inputs, taken).items():
            seconds = measure(pair, arguments.rounds)
            found[f"{name}, {title}"] = seconds
            report(f"{name}, {title}", seconds)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def pairs(ours: torch.nn.Module, theirs: Any, inputs: dict[str, Tensor], taken: Tensor | None) -> dict[str, Pair]:
    """The comparisons of one model, once it is sure that outputs agree."""
    named = "logits" if any(word in type(theirs).__name__ for word in ("For", "LMHead")) else "last_hidden_state"

    def output(model: Any) -> Tensor:
        found = model(**inputs)
        rows = getattr(found, named)
        return rows if taken is None else rows[taken]

    def forward(model: Any) -> Callable[[], Tensor]:
        return torch.inference_mode()(lambda: output(model))

    def step(model: Any) -> Callable[[], Tensor]:
        def one() -> Tensor:
            model.zero_grad()
            loss = output(model).square().mean()
            loss.backward()
            return loss

        return one

    torch.testing.assert_close(forward(ours)(), forward(theirs)(), rtol=1e-4, atol=1e-4)
    return {"forward": (forward(ours), forward(theirs)), "forward and backward": (step(ours), step(theirs))}


def measure(pair: Pair, rounds: int) -> dict[str, list[list[float]]]:
    """Seconds of wall and of processor for each round, ours and theirs by turns."""
    seconds: dict[str, list[list[float]]] = {"ours": [], "theirs": []}
    for contender in pair:
        contender()
    for _ in range(rounds):
        for name, contender in zip(seconds, pair, strict=True):
            wall, processor = time.perf_counter(), time.process_time()
            contender()
            seconds[name].append([time.perf_counter() - wall, time.process_time() - processor])
    return seconds


def report(title: str, seconds: dict[str, list[list[float]]]) -> None:
    """One line: minimum, median and processor seconds of both, and the median ratio."""
    numbers = []
    for rows in seconds.values():
        wall, processor = zip(*rows, strict=True)
        numbers += [min(wall), statistics.median(wall), statistics.median(processor)]
    ratio = statistics.median(b[0] / a[0] for a, b in zip(*seconds.values(), strict=True))
    print(f"{title:42} " + " ".join(f"{number:9.3f}" for number in numbers) + f" {ratio:6.2f}", flush=True)


def _ids(vocab_size: int) -> tuple[dict[str, Tensor], Tensor]:
    taken = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    drawn = torch.randint(5, vocab_size, taken.shape, generator=torch.Generator().manual_seed(0))
    return {"input_ids": drawn * taken, "attention_mask": taken.long()}, taken


def bert() -> tuple[Any, dict[str, Tensor], Tensor | None]:
    """BERT base, texts of several lengths."""
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(num_hidden_layers=LAYERS)), *_ids(30522)


def gpt2() -> tuple[Any, dict[str, Tensor], Tensor | None]:
    """GPT-2 small with its output layer, texts of several lengths."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_layer=LAYERS, vocab_size=20000)), *_ids(20000)


def qwen2() -> tuple[Any, dict[str, Tensor], Tensor | None]:
    """The widths of Qwen2 0.5B without its output layer, texts of several lengths."""
    from transformers import Qwen2Config, Qwen2Model

    sizes: dict[str, Any] = {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    }
    return Qwen2Model(Qwen2Config(**sizes, num_hidden_layers=LAYERS, vocab_size=30000)), *_ids(30000)


def vit() -> tuple[Any, dict[str, Tensor], Tensor | None]:
    """ViT-B/16, pictures of one size."""
    from transformers import ViTConfig, ViTForImageClassification

    pictures = torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return ViTForImageClassification(ViTConfig(num_hidden_layers=LAYERS)), {"pixel_values": pictures}, None


MODELS = {"bert": bert, "gpt2": gpt2, "qwen2": qwen2, "vit": vit}

if __name__ == "__main__":
    main()
