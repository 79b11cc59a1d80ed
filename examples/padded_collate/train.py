"""Batches in the style of Hugging Face: a dictionary of padded ids, a mask and labels, from any tokenizer of ids.

`Collator` is what such a trainer takes as its data collator. The model is a stand-in with the same call, so that the
example needs no further library: it reads a word letter by letter and tells whether it holds more vowels than not.
"""

import random
from dataclasses import dataclass

import torch
from omniformer_tokenizers import BPETokenizer, ByteTokenizer, PixelTokenizer, Tokenizer
from torch import Tensor, nn
from torch.utils.data import DataLoader

IGNORED = -100  # the label that losses leave out


@dataclass
class Collator:
    """Turns samples {"raw": ..., "label": ...} into what a model of that style takes.

    Args:
        tokenizer: one whose values are ids.
        padding: the id that fills rows up; the mask hides it.
        causal: labels are the ids themselves, for language models; otherwise the samples' own.
        multiple: rows are filled up to a multiple of this length.
    """

    tokenizer: Tokenizer
    padding: int = 0
    causal: bool = False
    multiple: int = 8

    def __call__(self, samples: list[dict]) -> dict[str, Tensor]:
        """One padded batch."""
        rows = [tokens.values for tokens in self.tokenizer.encode_batch([sample["raw"] for sample in samples])]
        longest = -(-max(len(row) for row in rows) // self.multiple) * self.multiple
        ids = torch.full((len(rows), longest), self.padding)
        mask = torch.zeros(len(rows), longest, dtype=torch.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        labels = ids.masked_fill(mask == 0, IGNORED) if self.causal else torch.tensor([s["label"] for s in samples])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class Model(nn.Module):
    """Takes a batch by keyword and returns a dictionary with the loss, as models of that style do."""

    def __init__(self, vocab_size: int, d_model: int = 16) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, d_model)
        self.head = nn.Linear(d_model, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The loss and the scores of a batch."""
        x = self.embed(input_ids) * attention_mask[..., None]
        logits = self.head(x.sum(1) / attention_mask.sum(1, keepdim=True).clamp(min=1))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def word() -> dict:
    """A random word and whether more than half of its letters are vowels."""
    letters = random.choices("aeioubcdfg", k=random.choice((3, 5, 7, 9)))
    vowels = sum(letter in "aeiou" for letter in letters)
    return {"raw": "".join(letters), "label": int(2 * vowels > len(letters))}


def main() -> None:
    """Trains, and prints the accuracy on the last words, which the model sees for the first time."""
    random.seed(0)
    torch.manual_seed(0)
    tokenizer = ByteTokenizer()
    loader = DataLoader(
        [word() for _ in range(3000)], batch_size=32, collate_fn=Collator(tokenizer, padding=tokenizer.end_of_text)
    )
    model = Model(tokenizer.vocab_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    hits = []
    for batch in loader:
        out = model(**batch)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        hits.append((out["logits"].argmax(1) == batch["labels"]).float().mean())
    print(f"words: accuracy {torch.stack(hits[-20:]).mean():.3f}")

    # The same collator with other tokenizers: merged bytes for a language model, the pixels of images.
    words = [word() for _ in range(64)]
    bpe = BPETokenizer(vocab_size=300).fit(sample["raw"] for sample in words)
    batch = Collator(bpe, padding=bpe.end_of_text, causal=True)(words[:4])
    print("language model:", {name: tuple(tensor.shape) for name, tensor in batch.items()})
    images = [{"raw": torch.rand(1, n, n), "label": 0} for n in (2, 3, 4)]
    batch = Collator(PixelTokenizer(channels=1))(images)
    print("pixels:", {name: tuple(tensor.shape) for name, tensor in batch.items()})


if __name__ == "__main__":
    main()
