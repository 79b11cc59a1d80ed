from itertools import groupby, product

import pytest
import torch
from omniformer_tokenizers import BPETokenizer, Tokens, framed

from omniformer.batch import Batch, Sample, collate
from omniformer.core.rotary import Rotary
from omniformer.core.transformer import Transformer
from omniformer.embedders import VectorEmbedder
from omniformer.heads.ctc import CTCHead
from omniformer.model import OmniFormer
from omniformer.tasks.ctc import CTC

TOKENIZERS = {"text": BPETokenizer(vocab_size=257).fit(["a"])}


def model_with(head, features=3) -> OmniFormer:
    torch.manual_seed(0)
    core = Transformer(d_model=32, n_layers=1, n_heads=2, rotary=Rotary)
    model = OmniFormer(
        core=core, embedders={"audio": VectorEmbedder(d_model=32, features=features)}, heads={"it": head}
    )
    torch.nn.init.normal_(head.ids.weight)
    return model


def text(*values: int) -> Tokens:
    return Tokens(values=torch.tensor(values), positions=torch.zeros(len(values), 1), modality="text")


def spoken(*pairs, seed=0) -> Batch:
    """Samples of n frames each that say some ids, framed as data frames them."""
    chance = torch.Generator().manual_seed(seed)
    samples = []
    for i, (n, said) in enumerate(pairs):
        frames = Tokens(
            values=torch.randn(n, 3, generator=chance), positions=torch.arange(n)[:, None].float(), modality="audio"
        )
        answer = framed(text(*said) if said else text(0), start=0, stop=0)
        if not said:
            answer = text(0, 0)
        samples.append(Sample(id=f"s{i}", pieces=[frames] if n else [], answer=[answer]))
    return collate(samples)


def nats_by_paths(log_probs, said, blank) -> float:
    total = 0.0
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if [i for i, _ in groupby(path) if i != blank] == list(said):
            total += float(sum(frame[i] for frame, i in zip(log_probs, path, strict=True)).exp())
    return -float(torch.tensor(total).log())


@torch.no_grad()
def test_the_loss_adds_up_all_paths_that_spell_the_answer():
    model = model_with(CTCHead(d_model=32, vocab_size=3))
    said = [(4, (1, 2)), (5, (2, 2)), (0, (1,)), (3, ()), (1, (2,))]
    batch = spoken(*said)
    step = CTC(head=model.heads["it"], tokenizers=TOKENIZERS).step(model, batch, "it")
    frames = model(batch, "it").log_softmax(-1).split([n for n, _ in said])
    expected = [nats_by_paths(frame, ids, 3) for frame, (n, ids) in zip(frames, said, strict=True) if n]
    assert step.loss.item() == pytest.approx(sum(expected) / 4, rel=1e-5)
    assert step.count == 4


@torch.no_grad()
def test_the_loss_is_that_of_pytorch_one_sample_at_a_time():
    model = model_with(CTCHead(d_model=32, vocab_size=7))
    said = [(12, (1, 2, 6, 6)), (5, (3,)), (9, (5, 5, 5))]
    batch = spoken(*said)
    step = CTC(head=model.heads["it"], tokenizers=TOKENIZERS).step(model, batch, "it")
    losses = []
    for frame, (n, ids) in zip(model(batch, "it").log_softmax(-1).split([n for n, _ in said]), said, strict=True):
        lengths = torch.tensor(n), torch.tensor(len(ids))
        losses.append(torch.nn.functional.ctc_loss(frame, torch.tensor(ids), *lengths, blank=7, reduction="sum"))
    torch.testing.assert_close(step.loss, torch.stack(losses).mean())


def test_an_answer_longer_than_its_frames_is_told_by_the_samples_name():
    model = model_with(CTCHead(d_model=32, vocab_size=7))
    task = CTC(head=model.heads["it"], tokenizers=TOKENIZERS)
    with pytest.raises(ValueError, match="sample 's1' has 3 frames; its answer of 3 ids needs at least 4"):
        task.step(model, spoken((3, (1, 2, 3)), (3, (1, 1, 2))), "it")


def test_samples_without_frames_lose_nothing():
    model = model_with(CTCHead(d_model=32, vocab_size=7))
    step = CTC(head=model.heads["it"], tokenizers=TOKENIZERS).measure(model, spoken((0, (1,))), "it", "val")
    step.loss.backward()
    assert (step.loss.item(), step.count, step.written) == (0.0, 0, ("",))


@torch.no_grad()
def test_there_is_one_text_for_each_sample_also_where_it_has_no_frames():
    model = model_with(CTCHead(d_model=32, vocab_size=257))
    step = CTC(head=model.heads["it"], tokenizers=TOKENIZERS).measure(
        model, spoken((4, (66,)), (0, (65,)), (3, (65, 66))), "it", "test"
    )
    assert [len(step.written), len(step.expected), step.written[1]] == [3, 3, ""]


def test_a_batch_without_answers_is_told():
    model = model_with(CTCHead(d_model=32, vocab_size=7))
    batch = spoken((3, (1,)))
    batch = batch.select("audio")
    with pytest.raises(ValueError, match="samples 's0' have no answer of modality 'text'"):
        CTC(head=model.heads["it"], tokenizers=TOKENIZERS).step(model, batch, "it")


def test_impossible_settings_are_refused():
    head = CTCHead(d_model=32, vocab_size=7)
    with pytest.raises(ValueError, match="beam=0 must be at least 1"):
        CTC(head=head, tokenizers=TOKENIZERS, beam=0)
    with pytest.raises(ValueError, match="no tokenizer for answers of modality 'text'"):
        CTC(head=head, tokenizers={})


def said_aloud(words: str, sounds) -> Sample:
    """Each letter as two equal frames, with a frame of silence behind."""
    values = torch.stack([frame for letter in words for frame in (sounds[letter], sounds[letter], torch.zeros(3))])
    frames = Tokens(values=values, positions=torch.arange(len(values))[:, None].float(), modality="audio")
    return Sample(id=words, pieces=[frames], answer=[framed(TOKENIZERS["text"](words), start=0, stop=0)])


@pytest.mark.quick(1)
@pytest.mark.parametrize("beam", [1, 4])
def test_one_batch_can_be_learned_by_heart_and_is_then_written(beam):
    tokenizer = TOKENIZERS["text"]
    texts = ["ab", "ba", "abb", "b"]
    sounds = {letter: torch.randn(3, generator=torch.Generator().manual_seed(ord(letter))) for letter in "ab"}
    model = model_with(CTCHead(d_model=32, vocab_size=tokenizer.vocab_size))
    batch = collate([said_aloud(each, sounds) for each in texts])
    task = CTC(head=model.heads["it"], tokenizers=TOKENIZERS, beam=beam)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    first = task.step(model, batch, "it").loss.item()
    for _ in range(60):
        loss = task.step(model, batch, "it").loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        step = task.measure(model, batch, "it", "test")
    metrics = task.metrics()
    task.update(metrics, step, batch)
    assert step.loss.item() < 0.05 * first
    assert step.expected == tuple(texts)
    assert step.written == tuple(texts)
    assert {name: value.item() for name, value in metrics.compute().items()} == {"wer": 0.0, "cer": 0.0}
