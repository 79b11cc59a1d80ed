import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from omniformer_tokenizers import ColourTokenizer, MuLawTokenizer, PixelTokenizer, Tokens, framed

from omniformer.batch import Batch, Sample, collate
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Prefix, Window
from omniformer.core.transformer import Transformer
from omniformer.data import Digits, Stream
from omniformer.embedders import IdEmbedder
from omniformer.generation import Allowed, Greedy, begin, write
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.tasks.autoregression import Autoregression

PIXELS = PixelTokenizer(channels=1, levels=17)


def writer(tokenizer, *, rule=None, modality="vision", std=0.5) -> OmniFormer:
    torch.manual_seed(0)
    facts = {name: tokenizer.facts[name] for name in ("vocab_size", "axes")}
    core = Transformer(d_model=32, n_layers=1, n_heads=2, rotary=partial(Rotary, n_axes=facts["axes"]))
    embedders = {
        "text": IdEmbedder(d_model=32, vocab_size=9, init_std=std),
        modality: IdEmbedder(d_model=32, init_std=std, **facts),
    }
    head = NextTokenHead(d_model=32, vocab_size=facts["vocab_size"], modality=modality)
    return OmniFormer(core=core, embedders=embedders, heads={"it": head}, rules={"it": rule or Causal()})


def word(*ids: int) -> Tokens:
    return Tokens(values=torch.tensor(ids), positions=torch.arange(len(ids))[:, None].float(), modality="text")


def answer(tokenizer, raw, modality="vision") -> Tokens:
    tokens = tokenizer(raw)
    tokens = Tokens(values=tokens.values, positions=tokens.positions, modality=modality)
    return framed(tokens, start=tokenizer.start, stop=tokenizer.stop)


def grey(height: int, width: int, seed: int) -> torch.Tensor:
    return torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed))


def batch() -> Batch:
    return collate(
        [
            Sample(id="a", pieces=[word(3, 4)], answer=[answer(PIXELS, grey(2, 2, 0))]),
            Sample(id="b", pieces=[], answer=[answer(PIXELS, grey(2, 3, 1))]),
        ]
    )


def test_the_loss_is_that_of_every_value_from_those_before_it_and_what_is_given():
    model = writer(PIXELS, rule=Causal() | Prefix())
    samples = batch()
    step = Autoregression(head=model.heads["it"], rule=model.rules["it"]).step(model, samples, "it")
    nats = []
    for given, shape, seed in ((word(3, 4), (2, 2), 0), (None, (2, 3), 1)):
        whole = answer(PIXELS, grey(*shape, seed))
        for end in range(1, len(whole)):
            seen = Tokens(values=whole.values[:end], positions=whole.positions[:end], modality="vision")
            pieces = ([] if given is None else [given]) + [seen]
            alone = Sample(id="x", pieces=pieces, prefix=0 if given is None else len(given))
            x, _ = model.encode(collate([alone]), "it")
            nats.append(-model.heads["it"].ids(x[-1]).log_softmax(-1)[whole.values[end]])
    torch.testing.assert_close(step.loss, torch.stack(nats).mean())
    assert step.count == 4 + 6


def test_every_pixel_is_predicted_once_and_the_start_never():
    model = writer(PIXELS)
    step = Autoregression(head=model.heads["it"]).step(model, batch(), "it")
    expected = [*PIXELS(grey(2, 2, 0)).values.tolist(), *PIXELS(grey(2, 3, 1)).values.tolist()]
    assert step.targets.tolist() == expected
    assert PIXELS.start not in expected


def test_no_value_sees_itself_or_a_later_one():
    model = writer(PIXELS)
    task = Autoregression(head=model.heads["it"])
    picture = grey(2, 3, 1)
    changed = picture.clone()
    changed[0, 1, 0] = 1 - changed[0, 1, 0]  # the fourth pixel
    before, after = (
        task.step(model, collate([Sample(id="b", pieces=[], answer=[answer(PIXELS, each)])]), "it").outputs
        for each in (picture, changed)
    )
    same = torch.isclose(before, after)
    assert same[:3].all() and not same[3:].any()


def test_bits_per_dim_are_all_bits_over_all_values_of_all_batches():
    model = writer(PIXELS)
    task = Autoregression(head=model.heads["it"])
    metrics, nats, values = task.metrics(), 0.0, 0
    for height in (2, 5):
        each = collate([Sample(id="a", pieces=[], answer=[answer(PIXELS, grey(height, 3, height))])])
        step = task.step(model, each, "it")
        task.update(metrics, step, each)
        nats, values = nats + step.outputs.sum().item(), values + height * 3
    found = metrics.compute()
    assert list(found) == ["bits_per_dim"]
    assert found["bits_per_dim"].item() == pytest.approx(nats / math.log(2) / values, rel=1e-5)


def test_a_model_that_knows_nothing_needs_the_bits_of_the_vocabulary():
    model = writer(PIXELS)
    torch.nn.init.zeros_(model.embedders["vision"].table.weight)
    task = Autoregression(head=model.heads["it"])
    metrics = task.metrics()
    task.update(metrics, task.step(model, batch(), "it"), batch())
    assert metrics.compute()["bits_per_dim"].item() == pytest.approx(math.log2(18), rel=1e-5)


def bits_after_training(model: OmniFormer, samples: Batch, steps: int) -> tuple[float, float]:
    """Bits for each value of one batch before and after it was learned by heart."""
    task = Autoregression(head=model.heads["it"], rule=model.rules["it"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    bits = []
    for _ in range(steps):
        loss = task.step(model, samples, "it").loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bits.append(loss.item() / math.log(2))
    return bits[0], bits[-1]


@pytest.mark.slow
def test_digits_are_learned_by_heart_and_written_again_pixel_by_pixel():
    digits = Stream(source=Digits(), answer="vision").samples("val", {"vision": PIXELS}, name="digits", seed=0)
    samples = collate([digits(0, 0)])
    model = writer(PIXELS, std=0.02)
    first, last = bits_after_training(model, samples, 150)
    assert first > 3.5 and last < 0.05
    part, empty = samples.answer.parts["vision"], replace(samples, answer=None)
    begun = begin(empty, PIXELS.start, modality="vision", axes=3)
    allowed = Allowed(never=(PIXELS.start,))
    ((best,),) = write(model.eval(), "it", begun, strategy=Greedy(), positions=part.positions, allowed=allowed)
    assert list(best.ids) == part.values[1:].tolist()


@pytest.mark.slow
def test_colours_of_a_palette_are_learned_by_heart():
    tokenizer = ColourTokenizer(n_colours=6, channels=3)
    raws = [torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    tokenizer.fit(raws)
    samples = [Sample(id=str(i), pieces=[word(i + 1)], answer=[answer(tokenizer, raw)]) for i, raw in enumerate(raws)]
    model = writer(tokenizer, rule=Causal() | Prefix(), std=0.02)
    first, last = bits_after_training(model, collate(samples), 120)
    assert first > 2.5 and last < 0.1


@pytest.mark.slow
def test_sounds_are_learned_by_heart_through_a_window():
    tokenizer = MuLawTokenizer(sample_rate=1000, levels=64)
    time = torch.arange(100) / 1000
    wave = 0.6 * torch.sin(2 * math.pi * (40 + 200 * time) * time)
    samples = collate([Sample(id="chirp", pieces=[], answer=[answer(tokenizer, wave, "audio")])])
    model = writer(tokenizer, rule=Causal() & Window(left=32), modality="audio", std=0.02)
    first, last = bits_after_training(model, samples, 150)
    assert first > 5.5 and last < 1.0
