"""Vectors as ids and back, against plain loops."""

import math

import omniformer_tokenizers as ot
import pytest
import torch

PATCHES = ot.PatchTokenizer(patch_size=4, channels=1, image_size=(8, 12))
FRAMES = ot.WaveformTokenizer(sample_rate=8000, frame_length=10)


def pictures(n=20):
    generator = torch.Generator().manual_seed(0)
    slopes = torch.rand(n, 3, generator=generator)
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 8), torch.linspace(0, 1, 12), indexing="ij")
    made = [(a * rows + b * columns * (1 - rows) + c) / 3 for a, b, c in slopes.tolist()]
    return [each[None] + 0.02 * torch.rand(1, 8, 12, generator=generator) for each in made]


def sounds(n=6):
    return [0.5 * torch.sin(torch.arange(203.0) * (0.2 + 0.1 * i)) for i in range(n)]


def test_each_stage_takes_the_entry_nearest_to_what_those_before_it_leave():
    made = ot.ResidualCodebooks(tokenizer=PATCHES, n_stages=3, n_entries=5, iterations=4).fit(pictures())
    books, (raw, *_) = made.found["books"], pictures()
    tokens, vectors = made(raw), PATCHES(raw).values
    expected, sums = [], []
    for vector in vectors:
        left = vector.clone()
        for stage in range(3):
            distances = [float(((left - entry) ** 2).sum()) for entry in books[stage]]
            best = distances.index(min(distances))
            expected.append(5 * stage + best)
            left = left - books[stage][best]
        sums.append(vector - left)
    assert tokens.values.tolist() == expected and made.start == 15 and made.facts == {"vocab_size": 16, "axes": 3}
    assert tokens.positions[:4].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0]]
    torch.testing.assert_close(made.rebuild(tokens.values.view(-1, 3)), torch.stack(sums), rtol=1e-4, atol=1e-5)


def error(made, raws):
    """Mean square of what is lost, in parts of what there is."""
    lost = [made.tokenizer(raw).values - made.rebuild(made(raw).values.view(-1, made.n_stages)) for raw in raws]
    there = torch.cat([made.tokenizer(raw).values for raw in raws])
    return float(torch.cat(lost).square().mean() / (there - there.mean(0)).square().mean())


@pytest.mark.parametrize(("inside", "raws"), [(PATCHES, pictures()), (FRAMES, sounds())], ids=["pictures", "sounds"])
def test_more_stages_and_more_levels_lose_less(inside, raws):
    books = [ot.ResidualCodebooks(tokenizer=inside, n_stages=n, n_entries=6).fit(raws) for n in (1, 2, 4)]
    lost = [error(each, raws) for each in books]
    assert lost[0] > lost[1] > lost[2] and lost[2] < 0.1
    levels = [ot.FiniteScalarTokenizer(tokenizer=inside, levels=each).fit(raws) for each in ((3,), (3, 3), (9, 9, 9))]
    lost = [error(each, raws) for each in levels]
    assert lost[0] > lost[1] > lost[2]


def test_levels_are_parts_of_equal_chance_along_principal_axes():
    generator = torch.Generator().manual_seed(1)
    wide = torch.randn(5000, 10, generator=generator) * torch.tensor([5.0, 3.0, *[0.1] * 8])
    made = ot.FiniteScalarTokenizer(tokenizer=FRAMES, levels=(4, 3)).fit([wide.flatten()])
    axes = made.found["axes"].abs()
    assert axes[0].argmax() == 0 and axes[1].argmax() == 1 and float(axes.amax(1).min()) > 0.99
    ids = made(wide.flatten()).values
    assert made.facts["vocab_size"] == 13 and ids.bincount(minlength=12).min() > 5000 / 12 * 0.8
    for vector, id_ in list(zip(wide, ids.tolist(), strict=True))[:50]:
        parts = []
        for axis, deviation, n in zip(made.found["axes"], made.found["deviation"], (4, 3), strict=True):
            number = float((vector - made.found["mean"]) @ axis / deviation)
            share = 0.5 * (1 + math.erf(number / math.sqrt(2)))
            parts.append(min(int(share * n), n - 1))
        assert id_ == parts[0] + 4 * parts[1]
    again = made.rebuild(torch.arange(12)[:, None])
    assert made.encode(again).flatten().tolist() == list(range(12))


def test_pictures_come_back_in_their_size_and_written_sounds_as_long_as_they_are():
    raw = pictures()[0]
    made = ot.ResidualCodebooks(tokenizer=PATCHES, n_stages=4, n_entries=16).fit(pictures())
    assert made.modality == "pixels" and made.image_size == (8, 12) and made.channels == 1
    found = made.decode(made(raw)).float() / 255
    assert found.shape == raw.shape and float((found - raw).abs().mean()) < 0.03
    heard = ot.ResidualCodebooks(tokenizer=FRAMES, n_stages=2, n_entries=16).fit(sounds())
    assert heard.modality == "samples" and heard.sample_rate == 8000 and heard.facts["axes"] == 1
    tokens = heard(sounds()[0])
    assert tokens.positions.flatten().tolist() == list(range(42)) and len(heard.decode(tokens)) == 203
    written = ot.Tokens(values=tokens.values[:7], positions=tokens.positions[:7], modality="samples")
    short = heard.decode(written)  # three vectors, and the first stage of a fourth
    assert len(short) == 40
    torch.testing.assert_close(short[:30], heard.decode(tokens)[:30])
    torch.testing.assert_close(short[30:], heard.found["books"].flatten(0, 1)[tokens.values[6]])


def test_a_saved_one_makes_the_same_ids(tmp_path):
    for made in (ot.ResidualCodebooks(tokenizer=PATCHES, n_entries=5), ot.FiniteScalarTokenizer(tokenizer=PATCHES)):
        with pytest.raises(ValueError, match="has no codes yet"):
            made(pictures()[0])
        made.fit(pictures()).save_pretrained(tmp_path / type(made).__name__)
        again = ot.load(tmp_path / type(made).__name__)
        assert torch.equal(again(pictures()[1]).values, made(pictures()[1]).values) and again.digest == made.digest


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ot.ResidualCodebooks(tokenizer=ot.PixelTokenizer()), "codes stand for vectors; PixelTokenizer makes"),
        (lambda: ot.ResidualCodebooks(tokenizer=PATCHES, n_stages=0), "n_stages"),
        (lambda: ot.FiniteScalarTokenizer(tokenizer=PATCHES, levels=(4, 1)), r"levels=\[4, 1\] must be at least one"),
        (lambda: ot.FiniteScalarTokenizer(tokenizer=FRAMES, levels=[2] * 11), "of 11 numbers, a vector has 10"),
        (lambda: ot.ResidualCodebooks(tokenizer=PATCHES).fit([]), "received no vectors"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_damaged_file_is_named(tmp_path):
    ot.ResidualCodebooks(tokenizer=PATCHES, n_entries=5).fit(pictures()).save_pretrained(tmp_path)
    (tmp_path / "codes.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"codes\.safetensors does not hold codes"):
        ot.load(tmp_path)
