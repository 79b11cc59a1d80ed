"""One small model learns from text, images and sound at once, in a plain PyTorch loop.

Three made-up tasks with two classes each: is a sentence about cats or dogs, does a picture have horizontal or vertical
stripes, is a tone low or high. Every sample has its own size; nothing is padded.
"""

import random

import torch
from omniformer_tokenizers import BPETokenizer, Packed, PatchTokenizer, SpectrogramTokenizer, pack
from torch import Tensor, nn

CATS = ["the cat sleeps", "a kitten plays with wool", "cats like fish and warm places"]
DOGS = ["the dog barks", "a puppy chases the ball", "dogs like long walks and bones"]


def make_text(label: int) -> str:
    """Some sentences about cats (0) or dogs (1)."""
    return " and ".join(random.choices((CATS, DOGS)[label], k=random.randint(1, 3)))


def make_picture(label: int) -> Tensor:
    """A noisy picture of any size with horizontal (0) or vertical (1) stripes."""
    height, width = random.randint(9, 30), random.randint(9, 30)
    axis = torch.arange(width).expand(height, width) if label else torch.arange(height)[:, None].expand(height, width)
    stripes = (axis // 2 % 2).float() + 0.2 * torch.randn(height, width)
    return stripes.clamp(0, 1)[None]


def make_sound(label: int) -> Tensor:
    """A noisy tone of any length, low (0) or high (1)."""
    hz = random.uniform(1500, 2500) if label else random.uniform(200, 500)
    time = torch.arange(random.randint(800, 2400)) / 8000
    return torch.sin(2 * torch.pi * hz * time) + 0.1 * torch.randn(len(time))


class Reader(nn.Module):
    """A linear layer or a table for each modality, a shared network over tokens, the mean over each sample."""

    def __init__(self, facts: dict[str, dict], d_model: int = 32) -> None:
        super().__init__()
        self.embed = nn.ModuleDict(
            {
                name: nn.Linear(fact["features"], d_model)
                if "features" in fact
                else nn.Embedding(fact["vocab_size"], d_model)
                for name, fact in facts.items()
            }
        )
        self.body = nn.Sequential(nn.Linear(d_model, d_model), nn.ReLU(), nn.Linear(d_model, d_model), nn.ReLU())
        self.head = nn.ModuleDict({name: nn.Linear(d_model, 2) for name in facts})

    def forward(self, packed: Packed) -> Tensor:
        """The scores of both classes for each sample of a pack."""
        x = self.body(self.embed[packed.modality](packed.values))
        sample = torch.repeat_interleave(torch.arange(len(packed)), packed.lengths)
        total = torch.zeros(len(packed), x.shape[1]).index_add(0, sample, x)
        return self.head[packed.modality](total / packed.lengths[:, None].clamp(min=1))


def main() -> None:
    """Trains, tests, and prints the accuracy of each task."""
    random.seed(0)
    torch.manual_seed(0)
    tokenizers = {
        "text": BPETokenizer(vocab_size=320).fit(CATS + DOGS),
        "vision": PatchTokenizer(patch_size=4, channels=1),
        "audio": SpectrogramTokenizer(sample_rate=8000, n_mels=20, n_fft=200, hop_length=80),
    }
    make = {"text": make_text, "vision": make_picture, "audio": make_sound}
    model = Reader({name: dict(tokenizer.facts) for name, tokenizer in tokenizers.items()})
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    correct = dict.fromkeys(tokenizers, 0)
    steps, test_steps, batch_size = 150, 10, 16
    for step in range(steps + test_steps):
        for name, tokenizer in tokenizers.items():
            labels = torch.randint(0, 2, (batch_size,))
            batch = pack([tokenizer(make[name](label)) for label in labels.tolist()])
            scores = model(batch)
            if step < steps:
                optimizer.zero_grad()
                nn.functional.cross_entropy(scores, labels).backward()
                optimizer.step()
            else:
                correct[name] += int((scores.argmax(1) == labels).sum())
    for name, count in correct.items():
        print(f"{name}: accuracy {count / (test_steps * batch_size):.3f}")


if __name__ == "__main__":
    main()
