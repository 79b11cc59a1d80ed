import pytest
import torch
from omniformer_tokenizers import CharacterTokenizer, PatchTokenizer, SpectrogramTokenizer, Tokens

from omniformer.batch import Sample, collate
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.heads import ClassificationHead
from omniformer.model import OmniFormer
from omniformer.tasks.missing_modalities import MissingModalities

TOKENIZERS = {
    "vision": PatchTokenizer(patch_size=1, channels=1),
    "text": CharacterTokenizer(),
    "audio": SpectrogramTokenizer(),
}


def piece(modality: str, n: int, seed: int) -> Tokens:
    chance = torch.Generator().manual_seed(seed)
    values = torch.randint(9, (n,), generator=chance) if modality == "text" else torch.randn(n, 3, generator=chance)
    return Tokens(values=values, positions=torch.arange(n)[:, None].float(), modality=modality)


@pytest.fixture
def model_and_task():
    torch.manual_seed(0)
    head = ClassificationHead(d_model=16, n_classes=4)
    torch.nn.init.normal_(head.classes.weight)
    embedders = {
        "text": IdEmbedder(d_model=16, vocab_size=9, init_std=1.0),
        "audio": VectorEmbedder(d_model=16, features=3),
        "vision": VectorEmbedder(d_model=16, features=3),
    }
    core = Transformer(d_model=16, n_layers=1, n_heads=2, init_std=0.2)
    model = OmniFormer(core=core, embedders=embedders, heads={"it": head}).eval()
    return model, MissingModalities(head=head, n_classes=4, tokenizers=TOKENIZERS)


def test_each_subset_is_measured_over_the_samples_that_have_it_as_if_they_had_nothing_else(model_and_task):
    model, task = model_and_task
    pieces = [["vision", "audio", "text"], ["vision"], ["audio", "text"], ["text", "vision"]]
    samples = [
        Sample(id=str(i), pieces=[piece(m, 2 + i, 10 * i + k) for k, m in enumerate(p)], targets={"label": label})
        for i, (p, label) in enumerate(zip(pieces, torch.tensor([0, 1, 2, 3]), strict=True))
    ]
    batch, metrics = collate(samples), task.metrics()
    task.update(metrics, task.measure(model, batch, "it", "test"), batch)
    found = metrics.compute()
    assert len(task.subsets) == 6
    for subset in task.subsets:
        those = [i for i, p in enumerate(pieces) if set(subset) <= set(p)]
        hits = []
        for i in those:
            kept = [p for p in samples[i].pieces if p.modality in subset]
            alone = collate([Sample(id="x", pieces=kept, targets={"label": samples[i].targets["label"]})])
            hits.append(int(model(alone, "it").argmax()) == i)
        assert found[f"accuracy/{'+'.join(subset)}"].item() == pytest.approx(sum(hits) / len(hits))


def test_validation_looks_at_whole_samples_only(model_and_task):
    model, task = model_and_task
    batch = collate([Sample(id="a", pieces=[piece("text", 3, 0)], targets={"label": torch.tensor(1)})])
    metrics = task.metrics()
    task.update(metrics, task.measure(model, batch, "it", "val"), batch)
    assert metrics["accuracy"].update_called and not metrics["accuracy/text"].update_called
