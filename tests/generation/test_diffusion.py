from functools import partial

import pytest
import torch
from omniformer_tokenizers import Tokens, unpack

from omniformer.batch import Batch, Sample, collate
from omniformer.core.block import CrossBlock
from omniformer.core.connection import AdaptiveNorm
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.generation.diffusion import Noise, denoise, pictures, walk
from omniformer.heads import ClassificationHead
from omniformer.heads.denoising import DenoisingHead
from omniformer.heads.noise import Cosine, Linear
from omniformer.model import OmniFormer


def painter(**options) -> OmniFormer:
    """An encoder of text and a decoder of patches with random weights everywhere, so that everything has an effect."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2, "init_std": 0.3}
    adaptive = partial(AdaptiveNorm, d_condition=8)
    model = OmniFormer(
        core=EncoderDecoder(
            encoder=Transformer(**sizes), decoder=Transformer(**sizes, block=CrossBlock, connection=adaptive)
        ),
        embedders={
            "text": IdEmbedder(d_model=16, vocab_size=9, init_std=1.0),
            "vision": VectorEmbedder(d_model=16, features=4, axes=2),
        },
        heads={
            "paint": DenoisingHead(d_model=16, features=4, d_condition=8, schedule=Cosine(n_steps=40), **options),
            "other": ClassificationHead(d_model=16, n_classes=2),
        },
    )
    for name, parameter in model.named_parameters():
        if "modulation" in name or "values" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def word(*ids: int) -> Tokens:
    return Tokens(values=torch.tensor(ids), positions=torch.arange(len(ids))[:, None].float(), modality="text")


def blank(rows: int, columns: int) -> Tokens:
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    return Tokens(values=torch.zeros(rows * columns, 4), positions=grid, modality="vision")


SAMPLES = [
    Sample(id="a", pieces=[word(1, 2)], answer=[blank(2, 2)]),
    Sample(id="b", pieces=[word(3)], answer=[blank(2, 3)]),
    Sample(id="c", pieces=[word(1, 2)], answer=[blank(2, 2)]),
]


def gaussian(schedule, mean: float, std: float):
    """The best possible estimate where clean values are normal: their mean given the mixed ones, in closed form."""

    def estimate(x, t):
        a = float(schedule.alphas[t])
        clean = mean + a**0.5 * std**2 / (a * std**2 + 1 - a) * (x - a**0.5 * mean)
        return clean, (x - a**0.5 * clean) / (1 - a) ** 0.5

    return estimate


@pytest.mark.parametrize("schedule", [Cosine(n_steps=400), Linear(n_steps=400)], ids=["cosine", "linear"])
@pytest.mark.parametrize(("steps", "eta"), [(400, 0.0), (100, 0.0), (400, 0.5), (400, 1.0)])
def test_a_perfect_denoiser_gives_values_of_the_right_mean_and_variance(schedule, steps, eta):
    torch.manual_seed(1)
    out = walk(torch.randn(20_000, 1), gaussian(schedule, 0.4, 0.3), schedule, steps=steps, eta=eta)
    assert out.mean().item() == pytest.approx(0.4, abs=0.01)
    assert out.std().item() == pytest.approx(0.3, rel=0.05)


def test_without_fresh_noise_the_way_back_is_the_same_map_for_all_values():
    schedule = Cosine(n_steps=1000)
    x = torch.linspace(-2, 2, 9)[:, None]
    out = walk(x, gaussian(schedule, 0.0, 0.3), schedule, steps=1000)
    torch.testing.assert_close(out, 0.3 * x, rtol=0.03, atol=1e-3)


def test_all_steps_with_fresh_noise_are_the_ancestral_sampling_of_the_paper():
    schedule = Linear(n_steps=30)
    estimate = gaussian(schedule, 0.2, 0.5)
    draws = torch.randn(30, 6, 2, dtype=torch.float64)
    fresh = iter(draws)
    x = torch.randn(6, 2, dtype=torch.float64)
    out = walk(x, estimate, schedule, steps=30, eta=1.0, draw=lambda: next(fresh))
    betas = schedule.betas()
    for step, t in enumerate(reversed(range(30))):
        beta, alpha, before = betas[t], schedule.alphas[t], schedule.alphas[t - 1] if t else torch.tensor(1.0)
        mean = (x - beta / (1 - alpha).sqrt() * estimate(x, t)[1]) / (1 - beta).sqrt()
        x = mean + ((1 - before) / (1 - alpha) * beta).sqrt() * draws[step]
    torch.testing.assert_close(out, x)


def test_clean_values_are_kept_in_their_range_at_every_step():
    schedule = Cosine(n_steps=50)

    def too_bright(x, t):
        return torch.full_like(x, 3.0), torch.zeros_like(x)

    assert torch.equal(walk(torch.randn(5, 2), too_bright, schedule, steps=10, clip=1.0), torch.ones(5, 2))
    assert torch.equal(walk(torch.randn(5, 2), too_bright, schedule, steps=10), torch.full((5, 2), 3.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 41}, "steps=41 must be 1 to the 40"),
        ({"steps": 0}, "steps=0"),
        ({"steps": 4, "eta": 1.5}, "eta=1.5"),
        ({"steps": 4, "clip": 0.0}, "clip=0.0"),
    ],
)
def test_numbers_out_of_range_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        denoise(painter(), "paint", collate(SAMPLES), **options)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_seed_gives_a_sample_the_same_picture_in_any_batch(eta):
    # With noise instead of velocity, rounding would be blown up at the first step, where hardly any signal is left.
    model = painter(predicts="velocity")
    together = unpack(denoise(model, "paint", collate(SAMPLES), steps=6, eta=eta))
    alone = unpack(denoise(model, "paint", collate(SAMPLES[1:2]), steps=6, eta=eta))
    torch.testing.assert_close(together[1].values, alone[0].values, rtol=0, atol=1e-4)
    other = unpack(denoise(model, "paint", collate(SAMPLES[1:2]), steps=6, eta=eta, seed=1))
    assert not torch.isclose(other[0].values, alone[0].values).all()


def test_samples_with_the_same_words_get_different_pictures():
    first, _, third = unpack(denoise(painter(), "paint", collate(SAMPLES), steps=6))
    assert not torch.isclose(first.values, third.values).all()


def test_what_the_answers_hold_is_not_read_but_their_places_are_kept():
    batch = collate(SAMPLES)
    filled = [Sample(id=s.id, pieces=s.pieces, answer=[replaced(s.answer[0])]) for s in SAMPLES]
    made = denoise(painter(), "paint", batch, steps=4)
    assert torch.equal(made.values, denoise(painter(), "paint", collate(filled), steps=4).values)
    assert torch.equal(made.positions, batch.answer.parts["vision"].positions)


def replaced(tokens: Tokens) -> Tokens:
    return Tokens(values=torch.ones_like(tokens.values), positions=tokens.positions, modality="vision")


def with_words(*ids: int) -> Batch:
    return collate([Sample(id="a", pieces=[word(*ids)], answer=[blank(2, 2)])])


def pixels(model: OmniFormer, batch: Batch, guidance: float) -> torch.Tensor:
    return denoise(model, "paint", batch, steps=5, guidance=guidance, clip=None).values


@pytest.mark.parametrize("predicts", ["noise", "velocity"])
def test_guidance_goes_from_what_is_said_without_words_to_what_is_said_with_them_and_beyond(predicts):
    model = painter(predicts=predicts)
    assert torch.equal(pixels(model, with_words(1, 2), 0.0), pixels(model, with_words(5), 0.0))
    assert not torch.isclose(pixels(model, with_words(1, 2), 1.0), pixels(model, with_words(5), 1.0)).all()
    wordless = collate([Sample(id="a", pieces=[], answer=[blank(2, 2)])])
    nothing = pixels(model, wordless, 1.0)
    torch.testing.assert_close(pixels(model, wordless, 3.0), nothing)
    torch.testing.assert_close(pixels(model, with_words(1, 2), 0.0), nothing)
    # One step is linear in what the head says.
    zero, one, three = (
        denoise(model, "paint", with_words(1, 2), steps=1, guidance=g, clip=None).values for g in (0.0, 1.0, 3.0)
    )
    torch.testing.assert_close(three, zero + 3 * (one - zero), rtol=1e-3, atol=1e-3)


def test_noise_of_two_purposes_or_seeds_or_ids_has_nothing_in_common():
    made = [
        Noise([name], torch.tensor([50]), 4, seed=seed, purpose=purpose)()
        for name, seed, purpose in (("a", 0, "x"), ("b", 0, "x"), ("a", 1, "x"), ("a", 0, "y"))
    ]
    flat = torch.stack([each.flatten() for each in made])
    assert (torch.corrcoef(flat) - torch.eye(4)).abs().max() < 0.25


def test_a_head_that_makes_no_pictures_is_told():
    with pytest.raises(ValueError, match="'other' is a ClassificationHead; pictures are made by a DenoisingHead"):
        denoise(painter(), "other", collate(SAMPLES))
    with pytest.raises(ValueError, match="no head named 'nobody'; this model has paint, other"):
        denoise(painter(), "nobody", collate(SAMPLES))


def test_guidance_without_cross_attention_is_told():
    model = painter()
    model.core = model.core.encoder
    with pytest.raises(ValueError, match="guidance=3.0 needs a core with cross-attention"):
        denoise(model, "paint", collate(SAMPLES))


def test_an_answer_of_ids_or_none_at_all_is_told():
    with pytest.raises(ValueError, match="'a' answers with text of .1. torch.int64; diffusion needs one answer"):
        pictures(collate([Sample(id="a", pieces=[], answer=[word(1)])]))
    with pytest.raises(ValueError, match="'a' answers with nothing"):
        pictures(collate([Sample(id="a", pieces=[word(1)])]))
