import math

import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Batch, Sample, collate
from omniformer.core.towers import Towers
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.heads.contrastive import ContrastiveHead
from omniformer.model import OmniFormer
from omniformer.tasks.contrastive import Contrastive


def model_with(head, d_model=16) -> OmniFormer:
    torch.manual_seed(0)
    embedders = {
        "text": IdEmbedder(d_model=d_model, vocab_size=11),
        "audio": VectorEmbedder(d_model=d_model, features=3),
        "vision": VectorEmbedder(d_model=d_model, features=2),
    }
    return OmniFormer(core=Transformer(d_model=d_model, n_layers=1, n_heads=2), embedders=embedders, heads={"it": head})


def head_for(*modalities, **changes) -> ContrastiveHead:
    torch.manual_seed(1)
    return ContrastiveHead(d_model=16, modalities=list(modalities), d_embedding=8, **changes)


def piece(modality: str, seed: int) -> Tokens:
    chance = torch.Generator().manual_seed(seed)
    n = 2 + seed % 3
    values = {
        "text": lambda: torch.randint(11, (n,), generator=chance),
        "audio": lambda: torch.randn(n, 3, generator=chance),
        "vision": lambda: torch.randn(n, 2, generator=chance),
    }[modality]()
    return Tokens(values=values, positions=torch.arange(n)[:, None].float(), modality=modality)


def batch_of(*having: str, labels=None) -> Batch:
    """Samples that have the modalities named by their first letters."""
    names = {"t": "text", "a": "audio", "v": "vision"}
    return collate(
        [
            Sample(
                id=str(i),
                pieces=[piece(names[letter], 10 * i + j) for j, letter in enumerate(letters)],
                targets={} if labels is None else {"label": torch.tensor(labels[i])},
            )
            for i, letters in enumerate(having)
        ]
    )


def vectors_by_hand(model, batch, modality) -> dict[int, torch.Tensor]:
    """Each sample's vector from a pass of its own, for the samples that have the modality."""
    found, head = {}, model.heads["it"]
    for i, count in enumerate(batch.counts[modality].tolist()):
        if count:
            start = int(batch.counts[modality][:i].sum())
            part = batch.parts[modality]
            rows = slice(start, start + count)
            tokens = Tokens(values=part.values[rows], positions=part.positions[rows], modality=modality)
            x, _ = model.encode(collate([Sample(id="alone", pieces=[tokens])]), "it")
            vector = x.mean(0) @ head.maps[modality].weight.T
            found[i] = vector / vector.norm()
    return found


@torch.no_grad()
def loss_by_hand(model, batch, pairs, labels=None, kind="softmax") -> float:
    head, total, n = model.heads["it"], 0.0, 0
    scale = head.log_scale.exp()
    for first, second in pairs:
        a, b = vectors_by_hand(model, batch, first), vectors_by_hand(model, batch, second)
        both = sorted(a.keys() & b.keys())
        keys = {i: i if labels is None else labels[i] for i in both}
        for i in both:
            if kind == "sigmoid":
                for j in both:
                    logit = float(scale * (a[i] @ b[j]) + head.bias)
                    total += math.log1p(math.exp(-logit if keys[i] == keys[j] else logit))
                continue
            for left, right in ((a, b), (b, a)):
                logits = torch.stack([scale * (left[i] @ right[j]) for j in both]).log_softmax(0)
                wanted = [place for place, j in enumerate(both) if keys[j] == keys[i]]
                total += -sum(float(logits[place]) for place in wanted) / len(wanted) / 2
        n += len(both)
    return total / n


def test_softmax_loss_counts_the_samples_that_have_both_modalities_of_a_pair():
    model, batch = model_with(head_for("vision", "text", "audio")), batch_of("vt", "tva", "a", "", "va", "tv")
    step = Contrastive(head=model.heads["it"]).step(model, batch, "it")
    pairs = [("vision", "text"), ("vision", "audio"), ("text", "audio")]
    assert step.loss.item() == pytest.approx(loss_by_hand(model, batch, pairs), rel=1e-4)
    assert step.count == 3 + 2 + 1


def test_samples_of_the_same_label_belong_together_where_asked():
    labels = [0, 1, 0, 1, 2]
    model, batch = model_with(head_for("audio", "text")), batch_of("at", "at", "at", "at", "ta", labels=labels)
    step = Contrastive(head=model.heads["it"], same_label=True).step(model, batch, "it")
    assert step.loss.item() == pytest.approx(loss_by_hand(model, batch, [("audio", "text")], labels), rel=1e-4)


@pytest.mark.parametrize("labels", [None, [0, 1, 0, 2]])
def test_sigmoid_loss_asks_of_each_pair_by_itself(labels):
    model = model_with(head_for("audio", "text", bias=-10.0, temperature=0.1))
    batch = batch_of("at", "at", "a", "ta", labels=labels)
    step = Contrastive(head=model.heads["it"], loss="sigmoid", same_label=labels is not None).step(model, batch, "it")
    expected = loss_by_hand(model, batch, [("audio", "text")], labels, "sigmoid")
    assert step.loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("having", [("a", "t"), ("", ""), ("at",)])
def test_batches_without_anything_to_compare_lose_nothing_and_still_have_a_gradient(having):
    model = model_with(head_for("audio", "text"))
    step = Contrastive(head=model.heads["it"]).step(model, batch_of(*having), "it")
    step.loss.backward()
    assert step.loss.item() == pytest.approx(0, abs=1e-6)
    assert step.count == (having == ("at",))


@pytest.mark.parametrize("having", [("at", "ta"), ("a", "t"), ("a", "at"), ("t", "t")])
def test_towers_of_several_widths_learn_each_from_its_own_modality(having):
    widths = {"text": 8, "audio": 12}
    head = ContrastiveHead(d_model=widths, modalities=["audio", "text"], d_embedding=8)
    model = OmniFormer(
        core=Towers(towers=[Transformer(d_model=width, n_layers=1, n_heads=2) for width in widths.values()]),
        embedders={
            "text": IdEmbedder(d_model=8, vocab_size=11),
            "audio": VectorEmbedder(d_model=12, features=3),
        },
        heads={"it": head},
    )
    step = Contrastive(head=head).step(model, batch_of(*having), "it")
    step.loss.backward()
    gradients = [[weight.grad for weight in tower.parameters()] for tower in model.core.towers]
    assert all(gradient is not None for tower in gradients for gradient in tower)
    for letter, tower in zip("ta", gradients, strict=True):
        assert letter in "".join(having) or not any(gradient.any() for gradient in tower)
    assert step.loss.isfinite()


@pytest.mark.quick(1)
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_one_batch_can_be_learned_by_heart(loss):
    extra = {"bias": -10.0, "temperature": 0.1} if loss == "sigmoid" else {}
    model, batch = model_with(head_for("audio", "text", **extra)), batch_of(*["at"] * 8)
    task = Contrastive(head=model.heads["it"], loss=loss)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    first = task.step(model, batch, "it").loss.item()
    for _ in range(60):
        loss_now = task.step(model, batch, "it").loss
        optimizer.zero_grad()
        loss_now.backward()
        optimizer.step()
    metrics, step = task.metrics(), task.step(model, batch, "it")
    task.update(metrics, step, batch)
    assert step.loss.item() < 0.1 * first
    assert metrics.compute()["recall@1"] == 1


def test_recall_is_named_by_direction():
    model, batch = model_with(head_for("audio", "text")), batch_of("at", "a", "ta")
    task = Contrastive(head=model.heads["it"])
    metrics = task.metrics()
    task.update(metrics, task.step(model, batch, "it"), batch)
    names = {f"{way}/recall@{k}" for way in ("audio_to_text", "text_to_audio") for k in (1, 5, 10)}
    assert metrics.compute().keys() == names | {"recall@1", "loss"}


def test_loss_and_head_must_fit():
    with pytest.raises(ValueError, match=r"loss='sigmoid' needs a head with a bias, for example head.bias=-10"):
        Contrastive(head=head_for("audio", "text"), loss="sigmoid")
    with pytest.raises(ValueError, match=r"set head.bias=null"):
        Contrastive(head=head_for("audio", "text", bias=-10.0))


def test_labels_are_asked_for_where_they_are_needed():
    model = model_with(head_for("audio", "text"))
    with pytest.raises(ValueError, match="sample '0' has no target 'label'"):
        Contrastive(head=model.heads["it"], same_label=True).step(model, batch_of("at"), "it")
