"""A model that guesses for itself writes what it writes without guesses."""

from collections import Counter

import pytest
import torch

from omniformer.generation import Draft, Greedy, Sampling, SelfDraft, write
from omniformer.heads import MultiTokenHead


def several(model, n=3, std=0.05):
    """A model whose head also scores places behind the next one."""
    plain = model.heads["it"]
    torch.manual_seed(2)
    head = MultiTokenHead(d_model=16, vocab_size=plain.ids.out_features, tied=False, n_further=n)
    head.load_state_dict(plain.state_dict(), strict=False)
    for each in head.further.parameters():
        torch.nn.init.normal_(each, std=std)
    model.heads["it"] = head
    return model.eval()


@pytest.mark.quick(2)
@pytest.mark.parametrize("cache", ["growing", "static"])
@pytest.mark.parametrize("name", ["one sequence", "encoder and decoder"])
def test_greedy_ids_are_those_without_guesses(name, cache, make, batch):
    model = several(make(name))
    options = {"strategy": Greedy(), "stop": {4}, "max_new_tokens": 12, "cache": cache}
    expected, draft = write(model, "it", batch, **options), SelfDraft(model, "it")
    found = write(model, "it", batch, draft=draft, **options)
    assert [[each.ids for each in answers] for answers in found] == [[e.ids for e in answers] for answers in expected]
    assert draft.guessed > 0 and draft.accepted <= draft.guessed


def test_right_guesses_save_passes(make, plain):
    model = several(make("one sequence"))
    head = model.heads["it"]
    seen = []
    with torch.no_grad():
        # The core hands on the id as a unit vector, of which the table makes the next one.
        model.embedders["text"].table.weight.copy_(torch.eye(7, 16))
        head.ids.weight.copy_(torch.roll(torch.eye(7, 16), 1, dims=0))
    head.further = torch.nn.ModuleList(_Step(by) for by in (1, 2, 3))
    model.core.norm = torch.nn.Identity()
    model.core.through = lambda x, contexts, stages: x
    model.writer.register_forward_hook(lambda core, inputs, out: seen.append(len(inputs[0])))
    draft = SelfDraft(model, "it")
    ((answer,),) = write(model, "it", plain((0, 1)), strategy=Greedy(), max_new_tokens=10, draft=draft)
    assert list(answer.ids) == [2, 3, 4, 5, 6, 0, 1, 2, 3, 4]
    assert draft.accepted == draft.guessed and len(seen) < 5


class _Step(torch.nn.Module):
    """The unit vector so many ids on."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return torch.cat([torch.roll(x[:, :7], self.by, dims=1), x[:, 7:]], dim=1)


def test_drawn_ids_are_distributed_as_the_model_says(make, plain):
    model = several(make("one sequence"), std=0.02)
    strategy, draft = Sampling(temperature=0.7, top_k=2, n=3000, seed=3), SelfDraft(model, "it", n=2)
    ((*drawn,),) = write(model, "it", plain((0, 1)), strategy=strategy, max_new_tokens=4, draft=draft)
    ((*plainly,),) = write(
        model, "it", plain((0, 1)), strategy=Sampling(temperature=0.7, top_k=2, n=3000, seed=8), max_new_tokens=4
    )
    one, other = (Counter(each.ids for each in answers) for answers in (drawn, plainly))
    chi_square = sum((one[ids] - other[ids]) ** 2 / (one[ids] + other[ids]) for ids in one.keys() | other.keys())
    assert len(one) > 8 and chi_square < 37.7  # at most 15 degrees of freedom: 0.1 %
    assert 0 < draft.accepted < draft.guessed


def test_what_cannot_guess_for_itself_is_refused(make, plain):
    model, other = several(make("one sequence")), several(make("one sequence"))
    with pytest.raises(ValueError, match="'it' is a NextTokenHead, .* use task=multi_token"):
        SelfDraft(make("one sequence"), "it")
    with pytest.raises(ValueError, match="n=4 guesses of 'it', which scores 3 places behind the next one"):
        SelfDraft(model, "it", n=4)
    for options, message in (
        ({"draft": SelfDraft(other, "it")}, "guesses for 'it' of its own model alone"),
        ({"draft": SelfDraft(model, "it"), "guidance": 2.0}, "guidance=2.0 compares two passes"),
        ({"draft": SelfDraft(model, "it"), "cache": "none"}, "cache='none' cannot forget"),
    ):
        with pytest.raises(ValueError, match=message):
            write(model, "it", plain((0, 1)), strategy=Greedy(), max_new_tokens=3, **options)
    # With a model of its own as a draft, it writes as any other.
    write(model, "it", plain((0, 1)), strategy=Greedy(), max_new_tokens=3, draft=Draft(other, "it"))
