"""A language model that stays as it is learns to look at pictures through gated cross-attention (Flamingo)."""

from functools import partial

import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Batch, Sample, collate
from omniformer.core.block import Block, GatedCrossBlock
from omniformer.core.cache import KVCache
from omniformer.core.positions import Sinusoidal
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.tasks import CausalLM
from omniformer.training.warm_start import freeze, load_weights

SEEING = ["*", "!core.blocks.*.cross*", "!embedders.vision.*"]


def speaker(block, embedders=()) -> OmniFormer:
    core = Transformer(d_model=16, n_layers=4, n_heads=2, block=block, rotary=partial(Rotary, n_axes=2), dropout=0.1)
    text = IdEmbedder(d_model=16, vocab_size=12, init_std=0.3)  # so that words stay apart
    head = NextTokenHead(d_model=16, vocab_size=12)
    return OmniFormer(
        core=core, embedders={"text": text, **dict(embedders)}, heads={"it": head}, rules={"it": Causal()}
    )


def ids(*values: int) -> Tokens:
    return Tokens(values=torch.tensor(values), positions=torch.arange(len(values))[:, None].float(), modality="text")


def image(seed: int) -> Tokens:
    grid = torch.cartesian_prod(torch.arange(2), torch.arange(2)).float()
    values = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
    return Tokens(values=values, positions=grid, modality="vision")


SENTENCES = [(0, 5, 3, 7, 0), (0, 5, 3, 8, 0), (0, 5, 4, 9, 0)]


def captions(*, seen: bool = True) -> Batch:
    """Sentences to write, each about a picture of its own."""
    return collate(
        [
            Sample(id=str(i), pieces=[image(i)] if seen else [], answer=[ids(*sentence)])
            for i, sentence in enumerate(SENTENCES)
        ]
    )


def train(model: OmniFormer, batch: Batch, steps: int, lr: float) -> list[float]:
    task = CausalLM(head=model.heads["it"])
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=lr)
    losses = []
    for _ in range(steps):
        loss = task.step(model, batch, "it").loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def spoken() -> OmniFormer:
    """A language model that knows the sentences, but not which is about which picture."""
    torch.manual_seed(0)
    model = speaker(Block)
    texts = collate([Sample(id=str(i), pieces=[ids(*sentence)]) for i, sentence in enumerate(SENTENCES)])
    losses = train(model, texts, 60, 1e-2)
    assert losses[-1] < 0.5 * losses[0]
    return model.eval()


@pytest.fixture
def seeing(spoken) -> OmniFormer:
    """The same model with eyes that are still shut."""
    torch.manual_seed(1)
    vision = VectorEmbedder(d_model=16, features=6, axes=2, position=Sinusoidal)
    model = speaker(partial(GatedCrossBlock, every=2), {"vision": vision})
    loaded = load_weights(model, spoken.state_dict())
    assert not loaded.unexpected and not loaded.mismatched
    assert all("cross" in name or "vision" in name for name in loaded.missing)
    return model.eval()


def logits(model: OmniFormer, batch: Batch) -> torch.Tensor:
    x, layout = model.decode(batch, "it")
    return model.heads["it"](x, layout)


def test_with_shut_gates_the_language_model_says_bit_for_bit_what_it_said_before(spoken, seeing):
    before = logits(spoken, captions(seen=False))
    assert torch.equal(logits(seeing, captions(seen=False)), before)
    assert torch.equal(logits(seeing, captions()), before)


@pytest.mark.slow
def test_only_what_looks_is_trained_and_the_language_model_stays_as_it_is(spoken, seeing):
    seeing.train()
    freeze(seeing, SEEING)
    torch.manual_seed(2)
    losses = train(seeing, captions(), 120, 1e-2)
    assert losses[-1] < 0.2 * losses[0]
    old, new = spoken.state_dict(), seeing.state_dict()
    assert all(torch.equal(new[name], value) for name, value in old.items())
    gates = [seeing.core.blocks[i].cross.gate.item() for i in (0, 2)]
    assert all(gates)
    # What it learned is in the pictures: without them it knows no more than the language model.
    seeing.eval()
    task = CausalLM(head=seeing.heads["it"])
    with_pictures, without = (task.step(seeing, captions(seen=seen), "it").loss for seen in (True, False))
    assert with_pictures < 0.5 * without


def test_every_part_that_looks_gets_a_gradient_once_the_gates_are_open(seeing):
    for name, parameter in seeing.named_parameters():
        if name.endswith("gate"):
            torch.nn.init.constant_(parameter, 0.5)
    freeze(seeing, SEEING)
    CausalLM(head=seeing.heads["it"]).step(seeing, captions(), "it").loss.backward()
    trained = {name for name, parameter in seeing.named_parameters() if parameter.requires_grad}
    assert {name for name, parameter in seeing.named_parameters() if parameter.grad is not None} == trained
    assert [name for name in trained if not seeing.get_parameter(name).grad.any()] == []


def test_gates_learn_from_the_first_step_although_they_are_shut(seeing):
    freeze(seeing, SEEING)
    CausalLM(head=seeing.heads["it"]).step(seeing, captions(), "it").loss.backward()
    gradients = [seeing.core.blocks[i].cross.gate.grad.item() for i in (0, 2)]
    assert all(gradients)


def test_captions_are_written_step_by_step_over_the_pictures(seeing):
    for i in (0, 2):
        torch.nn.init.constant_(seeing.core.blocks[i].cross.gate, 0.7)
    full = logits(seeing, captions()).view(3, 5, 12)
    begun = collate(
        [Sample(id=str(i), pieces=[image(i)], answer=[ids(sentence[0])]) for i, sentence in enumerate(SENTENCES)]
    )
    cache = KVCache(n_layers=4, n_samples=3)
    x, layout = seeing.decode(begun, "it", cache=cache)
    torch.testing.assert_close(seeing.heads["it"](x, layout), full[:, 0])
    written = seeing.advance(torch.tensor([s[1] for s in SENTENCES]), torch.ones(3, 1), cache, "it")
    torch.testing.assert_close(written, full[:, 1])
