"""Optimizers from a config: their groups, their updates, their state."""

import copy
import io

import pytest
import torch
from torch import nn

from omniformer.core.layout import Layout
from omniformer.core.rules import Full
from omniformer.core.transformer import Transformer
from omniformer.training.optimizers import AdamW, Muon


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedder = nn.Embedding(11, 8)
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.head = nn.Linear(8, 11)

    def forward(self, ids):
        x = self.embedder(ids)
        for block in self.blocks:
            x = x + block(x).relu()
        return self.head(x)


def step(model, optimizer, scheduler=None):
    ids = torch.arange(11)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(ids), ids.roll(1)).backward()
    optimizer.step()
    if scheduler is not None:
        scheduler.step()


def both():
    return pytest.mark.parametrize("factory", [AdamW(lr=0.01, warmup_steps=3), Muon(lr=0.01, warmup_steps=3)])


def test_adamw_equals_a_plain_one_with_the_decay_set_by_hand():
    model, twin = Model(), Model()
    optimizer = AdamW(lr=0.01, weight_decay=0.3, betas=(0.8, 0.9))(model)
    decayed = [block.weight for block in twin.blocks] + [twin.head.weight]
    rest = [block.bias for block in twin.blocks] + [twin.head.bias, twin.embedder.weight]
    plain = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.3}, {"params": rest, "weight_decay": 0.0}], lr=0.01, betas=(0.8, 0.9)
    )
    for _ in range(3):
        step(model, optimizer)
        step(twin, plain)
    torch.testing.assert_close(model.state_dict(), twin.state_dict(), rtol=1e-5, atol=1e-6)


def test_muon_equals_two_separate_optimizers():
    model, twin = Model(), Model()
    optimizer = Muon(lr=0.01, weight_decay=0.1)(model)
    hidden = [block.weight for block in twin.blocks]
    muon = torch.optim.Muon(hidden, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    rest = [block.bias for block in twin.blocks] + [twin.head.bias, twin.embedder.weight]
    adamw = torch.optim.AdamW(
        [{"params": [twin.head.weight], "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.95),
    )
    for _ in range(3):
        step(model, optimizer)
        ids = torch.arange(11)
        twin.zero_grad()
        nn.functional.cross_entropy(twin(ids), ids.roll(1)).backward()
        muon.step()
        adamw.step()
    torch.testing.assert_close(model.state_dict(), twin.state_dict(), rtol=1e-5, atol=1e-6)


@both()
def test_schedule_reaches_every_group(factory):
    optimizer = factory(Model())
    scheduler = factory.scheduler(optimizer, 10)
    rates = []
    for _ in range(4):
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        rates.append(rate)
        optimizer.step()
        scheduler.step()
    assert rates[:3] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01])
    assert rates[3] < 0.01


@both()
def test_state_survives_a_round_trip_through_a_file(factory):
    model = Model()
    optimizer = factory(model)
    scheduler = factory.scheduler(optimizer, 10)
    for _ in range(3):
        step(model, optimizer, scheduler)
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), scheduler.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    twin = Model()
    again = factory(twin)
    schedule = factory.scheduler(again, 10)
    for part, state in zip((twin, again, schedule), states, strict=True):
        part.load_state_dict(state)
    for _ in range(3):
        step(model, optimizer, scheduler)
        step(twin, again, schedule)
    torch.testing.assert_close(model.state_dict(), twin.state_dict(), rtol=0, atol=0)


@both()
def test_parameters_without_gradient_do_not_move(factory):
    model = Model()
    before = copy.deepcopy(model.state_dict())
    factory(model).step()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@both()
def test_closure_is_called_once_and_its_value_returned(factory):
    model, calls = Model(), []
    assert factory(model).step(lambda: calls.append(1) or 5.0) == 5.0
    assert calls == [1]


@pytest.mark.parametrize("make", [AdamW, Muon])
def test_some_parameters_have_a_rate_of_their_own(make):
    model = Model()
    optimizer = make(lr=1.0, lr_of={"blocks.*": 0.25})(model)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert {rates[id(parameter)] for parameter in model.blocks.parameters()} == {0.25}
    assert rates[id(model.head.weight)] == 1.0
    with pytest.raises(ValueError, match="lr_of: 'block' fits no parameter"):
        make(lr_of={"block": 0.1})(model)


def of_width(width):
    torch.manual_seed(0)
    core = Transformer(d_model=width, n_layers=1, n_heads=width // 16)
    model = nn.ModuleDict({"embed": nn.Linear(6, width), "core": core, "head": nn.Linear(width, 8)})
    nn.init.normal_(model["head"].weight, std=1 / width)
    return model


def moved_by_three_steps(width, **settings):
    """How far the outputs of a model move: the coordinate check of Yang et al. 2022, appendix D.1."""
    model = of_width(width)
    optimizer = AdamW(lr=0.002, warmup_steps=0, **settings)(model)
    x, classes, layout = torch.randn(24, 6), torch.arange(24) % 8, Layout.from_lengths(12, 12)

    def outputs():
        return model["head"](model["core"](model["embed"](x), layout, Full()))

    first = outputs().detach()
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(outputs(), classes).backward()
        optimizer.step()
    return (outputs() - first).square().mean().sqrt().item()


def test_with_a_base_width_one_rate_moves_models_of_all_widths_alike():
    narrow = moved_by_three_steps(64, base_width=64)
    assert moved_by_three_steps(256, base_width=64) == pytest.approx(narrow, rel=0.2)
    assert moved_by_three_steps(64) == narrow
    assert moved_by_three_steps(256) > 3 * narrow


@pytest.mark.parametrize(("make", "power"), [(AdamW, 1.0), (Muon, 0.5)])
def test_matrices_of_a_wider_core_learn_more_slowly_and_nothing_else_does(make, power):
    model = of_width(64)
    optimizer = make(lr=1.0, base_width=16)(model)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert found["embed.weight"] == found["embed.bias"] == found["head.bias"] == 1.0
    assert found["head.weight"] == 0.25
    blocks = {rates[id(each)] for each in model["core"].blocks.parameters() if each.ndim == 2}
    assert blocks == {0.25**power}


def test_a_table_tied_to_a_head_learns_as_the_head_does():
    model = of_width(64)
    model["embed"] = nn.Embedding(8, 64)
    apart = AdamW(lr=1.0, base_width=16)(model)
    model["head"].weight = model["embed"].weight
    tied = AdamW(lr=1.0, base_width=16)(model)

    def rate(optimizer):
        table = model["embed"].weight
        return next(g["lr"] for g in optimizer.param_groups if any(each is table for each in g["params"]))

    assert (rate(apart), rate(tied)) == (1.0, 0.25)


def test_layer_decay_slows_the_lower_blocks():
    model = Model()
    optimizer = AdamW(lr=1.0, layer_decay=0.5)(model)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    names = {name: rate[id(p)] for name, p in model.named_parameters()}
    assert names["embedder.weight"] == 0.125
    assert [names[f"blocks.{i}.weight"] for i in (0, 1)] == [0.25, 0.5]
    assert names["head.bias"] == 1.0


def test_muon_learns():
    model = Model()
    optimizer = Muon(lr=0.02)(model)
    ids = torch.arange(11)

    @torch.no_grad()
    def loss():
        return float(nn.functional.cross_entropy(model(ids), ids.roll(1)))

    first = loss()
    for _ in range(60):
        step(model, optimizer)
    assert loss() < first / 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdamW(lr=0.0), r"lr=0\.0.*must be above 0"),
        (lambda: AdamW(weight_decay=-1.0), r"weight_decay=-1\.0"),
        (lambda: AdamW(layer_decay=1.5), r"layer_decay=1\.5"),
        (lambda: AdamW(betas=(0.9, 1.0)), r"betas=\[0\.9, 1\.0\]"),
        (lambda: Muon(schedule="step"), "schedule='step' is unknown"),
        (lambda: Muon()(nn.ModuleDict({"head": nn.Linear(2, 2)})), "no matrix outside.*optim=adamw"),
    ],
)
def test_bad_settings_are_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_schedule_with_an_end_refuses_a_run_without():
    factory = AdamW(schedule="cosine")
    with pytest.raises(ValueError, match="must know where the run ends"):
        factory.scheduler(factory(Model()), None)


@pytest.mark.parametrize(
    ("total", "said"), [(5, "never reaches optim.lr=0.01"), (15, "spends most of its steps"), (20, None), (None, None)]
)
def test_a_run_that_ends_inside_its_warm_up_says_so(caplog, total, said):
    factory = AdamW(lr=0.01, warmup_steps=10, schedule="constant")
    factory.scheduler(factory(nn.Linear(2, 2)), total)
    assert (said or "") in caplog.text
    assert any(each.levelname == "WARNING" for each in caplog.records) == (said is not None)


@pytest.mark.parametrize(("total", "peak"), [(3, 1), (9, 1), (50, 10), (500, 100), (10_000, 100)])
@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_a_warmup_that_nobody_chose_takes_a_hundred_steps_and_at_most_a_fifth_of_the_run(caplog, kind, total, peak):
    factory = kind(lr=1.0, schedule="wsd")
    factor = factory.scheduler(factory(Model()), total).lr_lambdas[0]
    assert next(step for step in range(200) if factor(step) == 1.0) + 1 == peak
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


@pytest.mark.parametrize("name", ["constant", "noam"])
def test_it_does_not_ask_for_the_end_of_a_schedule_without_one_so_that_a_run_may_be_made_longer(name):
    factory = AdamW(schedule=name)
    short, long, endless = (factory.scheduler(factory(Model()), total).lr_lambdas[0] for total in (40, 4000, None))
    assert all(short(step) == long(step) == endless(step) for step in range(0, 300, 7)) and short(99) == 1.0 != short(
        98
    )


@pytest.mark.parametrize(
    ("total", "epoch", "said"),
    [
        (None, 1500, "steps without a planned end, an epoch has 1,500; warm-up 7, peak rate 0.01"),
        (10, 40, "10 steps, an epoch has 40; warm-up 7, peak rate 0.01"),
        (100, 40, "100 steps, 2.5 epochs of 40; warm-up 7, peak rate 0.01"),
    ],
)
def test_it_says_steps_epochs_and_warm_up_also_where_a_run_ends_within_an_epoch_or_never(total, epoch, said):
    assert AdamW(lr=0.01, warmup_steps=7).told(total, epoch) == said


def test_a_warmup_below_one_is_a_share_of_the_run_which_is_said():
    model = nn.Linear(2, 2)
    whole, share = AdamW(lr=1.0, warmup_steps=20), AdamW(lr=1.0, warmup_steps=0.1)
    schedules = [factory.scheduler(factory(model), 200).lr_lambdas[0] for factory in (whole, share)]
    assert [schedules[0](step) for step in range(200)] == [schedules[1](step) for step in range(200)]
    said = "200 steps, 4 epochs of 50; warm-up 20, peak rate 1"
    assert [factory.told(200, 50) for factory in (whole, share)] == [said] * 2
    with pytest.raises(ValueError, match="share of a run without a planned end"):
        share.scheduler(share(model), None)
    with pytest.raises(ValueError, match=r"warmup_steps=1.5 must be a whole number of steps, or a share of the run"):
        AdamW(warmup_steps=1.5)
