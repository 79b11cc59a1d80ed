"""Damaged folders of saved tokenizers: a `ValueError`, or a tokenizer that works; never a crash."""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

N = int(os.environ.get("OMNIFORMER_FUZZ_FILES", "10000"))

FUZZ = """
import random, sys
from pathlib import Path
import torch
import omniformer_tokenizers as ot
from tokenizers import Tokenizer, models
def subwords():
    model = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "cat": 2, "##s": 3}, unk_token="[UNK]"))
    model.add_special_tokens(["[STOP]"])
    return model
folder, n = Path(sys.argv[1]), int(sys.argv[2])
made = {
    "bpe": (ot.BPETokenizer(vocab_size=270).fit(["the cat and the dog " * 9]), "the cat"),
    "characters": (ot.CharacterTokenizer().fit(["abc"]), "abc"),
    "colours": (ot.ColourTokenizer(n_colours=3, channels=1).fit([torch.rand(1, 4, 4)]), torch.rand(1, 2, 2)),
    "subwords": (ot.SubwordTokenizer.from_model(subwords(), stop="[STOP]"), "the cat"),
    "graph": (ot.GraphTokenizer(laplacian=2), {"n_nodes": 2, "edges": [[0, 1]]}),
}
for name, (tokenizer, _) in made.items():
    tokenizer.save_pretrained(folder / name)
draw = random.Random(0)
good = bad = 0
for i in range(n):
    name, (_, raw) = draw.choice(list(made.items()))
    path = draw.choice(sorted((folder / name).iterdir()))
    original = path.read_bytes()
    content = bytearray(original)
    for _ in range(draw.choice((1, 1, 2, 8))):
        place = draw.randrange(len(content))
        content[place] = draw.choice((draw.randrange(256), *b'0123456789"{}[],:-ae'))
    if draw.random() < 0.1:
        del content[draw.randrange(len(content)):]
    path.write_bytes(content)
    try:
        tokenizer = ot.load(folder / name)
        good += 1
    except ValueError:
        bad += 1
    path.write_bytes(original)
print(good, bad)
"""


def test_mutated_folders_raise_one_kind_of_error_and_never_kill_the_process(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", FUZZ, str(tmp_path), str(N)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"exit status {result.returncode}: {result.stderr[-3000:]}"
    good, bad = map(int, result.stdout.split())
    assert good + bad == N
    assert bad > 0
