from dataclasses import replace
from functools import partial

import pytest
import torch
from omniformer_tokenizers import PatchTokenizer, Tokens, unpack

from omniformer.batch import Sample, collate
from omniformer.core.block import CrossBlock
from omniformer.core.connection import AdaptiveNorm
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.norm import LayerNorm
from omniformer.core.positions import Sinusoidal
from omniformer.core.rotary import Rotary
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.generation.diffusion import denoise
from omniformer.heads.denoising import DenoisingHead
from omniformer.heads.noise import Cosine
from omniformer.model import OmniFormer
from omniformer.tasks.diffusion import Diffusion

PATCHES = PatchTokenizer(patch_size=4, channels=1)


def built(core, *, predicts="velocity", random=True) -> OmniFormer:
    torch.manual_seed(0)
    model = OmniFormer(
        core=core,
        embedders={
            "text": IdEmbedder(d_model=32, vocab_size=9, init_std=1.0),
            "vision": VectorEmbedder(d_model=32, features=16, axes=2, position=Sinusoidal),
        },
        heads={
            "it": DenoisingHead(
                d_model=32, features=16, d_condition=16, schedule=Cosine(n_steps=100), predicts=predicts
            )
        },
    )
    for name, parameter in model.named_parameters():
        if random and ("modulation" in name or "values" in name):
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def transformer(**options) -> Transformer:
    torch.manual_seed(0)
    return Transformer(d_model=32, n_layers=1, n_heads=2, rotary=partial(Rotary, n_axes=2), **options)


def adaptive(**options) -> Transformer:
    norm, connection = partial(LayerNorm, gain=False), partial(AdaptiveNorm, d_condition=16)
    return transformer(norm=norm, connection=connection, **options)


def painter(**options) -> OmniFormer:
    return built(EncoderDecoder(encoder=transformer(), decoder=adaptive(block=CrossBlock)), **options)


def word(*ids: int) -> Tokens:
    return Tokens(values=torch.tensor(ids), positions=torch.arange(len(ids))[:, None].float(), modality="text")


def picture(seed: int, height: int = 8, width: int = 8) -> Tokens:
    return PATCHES(torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed)))


def batch():
    return collate(
        [
            Sample(id="a", pieces=[word(1, 2)], answer=[picture(0)]),
            Sample(id="b", pieces=[word(3)], answer=[picture(1, 4, 8)]),
            Sample(id="c", pieces=[], answer=[picture(2)]),
        ]
    )


@pytest.mark.parametrize("predicts", ["noise", "velocity"])
def test_the_loss_equals_a_slow_computation_sample_by_sample(predicts):
    model, samples = painter(predicts=predicts), batch()
    head = model.heads["it"]
    torch.manual_seed(6)
    step = Diffusion(head=head, drop_text=0.5).step(model, samples, "it")
    torch.manual_seed(6)
    t = torch.randint(100, (3,))
    noise = torch.randn_like(samples.answer.parts["vision"].values)
    dropped = torch.rand(3) < 0.5
    assert dropped.any() and not dropped.all()

    squares, alphas = [], Cosine(n_steps=100).alphas.float()
    texts = [word(1, 2), word(3), None]
    for i, (clean, eps) in enumerate(zip(unpack(samples.answer.parts["vision"]), noise.split([4, 2, 4]), strict=True)):
        a = alphas[t[i]]
        mixed = Tokens(
            values=a.sqrt() * clean.values + (1 - a).sqrt() * eps, positions=clean.positions, modality="vision"
        )
        said = [] if texts[i] is None or dropped[i] else [texts[i]]
        alone = collate([Sample(id="x", pieces=said, answer=[mixed])])
        condition = head.condition(t[i : i + 1])
        x, layout = model.decode(alone, "it", condition=condition)
        wanted = eps if predicts == "noise" else a.sqrt() * eps - (1 - a).sqrt() * clean.values
        squares.append((head(x, layout, condition=condition) - wanted).square())
    torch.testing.assert_close(step.loss, torch.cat(squares).mean())
    assert step.count == 10


def test_an_untrained_model_loses_the_variance_of_the_noise():
    torch.manual_seed(0)
    model = painter(predicts="noise", random=False)
    pictures = [Sample(id=str(i), pieces=[word(1)], answer=[picture(i, 16, 16)]) for i in range(16)]
    step = Diffusion(head=model.heads["it"]).step(model, collate(pictures), "it")
    assert step.loss.item() == pytest.approx(1.0, abs=0.1)


def test_without_words_to_drop_everything_that_is_given_is_read():
    model, samples = painter().eval(), batch()
    task = Diffusion(head=model.heads["it"], drop_text=0.0)
    outputs = []
    for given in (samples, replace(samples.select(), answer=samples.answer)):
        torch.manual_seed(6)
        outputs.append(task.step(model, given, "it").outputs)
    equal = torch.isclose(*outputs).all(1)
    assert equal.tolist() == [False] * 6 + [True] * 4  # the third sample has no words


def test_validation_asks_every_sample_the_same_in_every_epoch_and_every_batch():
    model = painter().eval()
    task = Diffusion(head=model.heads["it"])
    first, again = (task.measure(model, batch(), "it", "val") for _ in range(2))
    assert torch.equal(first.outputs, again.outputs)
    alone = task.measure(model, collate([Sample(id="b", pieces=[word(3)], answer=[picture(1, 4, 8)])]), "it", "test")
    torch.testing.assert_close(alone.targets, first.targets[4:6])
    torch.testing.assert_close(alone.outputs, first.outputs[4:6], rtol=0, atol=1e-5)


def test_errors_are_reported_altogether_and_by_quarters_of_the_schedule():
    model = painter().eval()
    task = Diffusion(head=model.heads["it"])
    many = collate([Sample(id=str(i), pieces=[], answer=[picture(i, 4, 4)]) for i in range(40)])
    metrics, step = task.metrics(), task.measure(model, many, "it", "val")
    task.update(metrics, step, many)
    found = {name: value.item() for name, value in metrics.compute().items()}
    errors = (step.outputs - step.targets).square().mean(1)
    quarter = task._fixed_steps(many) // 25
    assert found.pop("mse") == pytest.approx(step.loss.item(), rel=1e-5)
    assert found == {f"mse_q{i + 1}": pytest.approx(errors[quarter == i].mean().item(), rel=1e-4) for i in range(4)}


def test_a_quarter_that_no_sample_fell_into_is_no_number_and_no_warning():
    model = painter().eval()
    task = Diffusion(head=model.heads["it"])
    one = collate([Sample(id="a", pieces=[], answer=[picture(0)])])
    metrics = task.metrics()
    task.update(metrics, task.measure(model, one, "it", "val"), one)
    assert sum(value.isnan().item() for value in metrics.compute().values()) == 3


@pytest.mark.quick("one sequence")
@pytest.mark.parametrize("cross", [True, False], ids=["cross-attention", "one sequence"])
def test_one_picture_is_learned_by_heart_and_made_again(cross):
    model = painter(random=False) if cross else built(adaptive(), random=False)
    answer = picture(3, 4, 8)
    sample = collate([Sample(id=str(i), pieces=[word(1)], answer=[answer]) for i in range(8)])
    task = Diffusion(head=model.heads["it"], drop_text=0.1 if cross else 0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=160)
    torch.manual_seed(0)
    losses = []
    for _ in range(160):
        loss = task.step(model, sample, "it").loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    made = denoise(model.eval(), "it", sample, steps=20, guidance=1.0)
    assert (unpack(made)[0].values - answer.values).abs().mean() < 0.2


def test_a_core_without_cross_attention_has_nothing_to_drop():
    model = built(adaptive())
    with pytest.raises(ValueError, match="drop_text=0.1 takes the given pieces away from cross-attention"):
        Diffusion(head=model.heads["it"]).step(model, batch(), "it")


def test_samples_without_a_picture_to_make_are_told():
    model = painter()
    with pytest.raises(ValueError, match="'a' answers with nothing"):
        Diffusion(head=model.heads["it"]).step(model, collate([Sample(id="a", pieces=[word(1)])]), "it")


def test_dropping_always_is_refused():
    with pytest.raises(ValueError, match="drop_text=1.0 must be at least 0 and below 1"):
        Diffusion(head=painter().heads["it"], drop_text=1.0)
