import pytest
import torch
from omniformer_tokenizers import CharacterTokenizer, PatchTokenizer, Tokens, framed

from omniformer.batch import Sample, collate
from omniformer.core.block import CrossBlock
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.rules import Causal, Prefix
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.generation import BeamSearch
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.tasks import CausalLM, ConditionalGeneration

TEXT = CharacterTokenizer().fit(["a dog", "ein Hund", "two cats", "zwei Katzen"])
PAIRS = [("a dog", "ein Hund"), ("two cats", "zwei Katzen"), ("", "ein")]


def batch_of(pairs=PAIRS):
    return collate(
        [
            Sample(id=f"{i}", pieces=[TEXT(given)], answer=[framed(TEXT(written), start=TEXT.start, stop=TEXT.stop)])
            for i, (given, written) in enumerate(pairs)
        ]
    )


def model_of(pair: bool) -> OmniFormer:
    torch.manual_seed(0)
    sizes = {"d_model": 32, "n_layers": 2, "n_heads": 4}
    core = Transformer(**sizes)
    if pair:
        core = EncoderDecoder(encoder=Transformer(**sizes), decoder=Transformer(**sizes, block=CrossBlock))
    return OmniFormer(
        core=core,
        embedders={"text": IdEmbedder(d_model=32, vocab_size=TEXT.vocab_size)},
        heads={"it": NextTokenHead(d_model=32, vocab_size=TEXT.vocab_size)},
        rules={"it": Causal() if pair else Causal() | Prefix()},
    )


def task_of(model, **options) -> ConditionalGeneration:
    return ConditionalGeneration(head=model.heads["it"], tokenizers={"text": TEXT}, **options)


@pytest.mark.parametrize("pair", [False, True], ids=["prefix", "encoder and decoder"])
def test_only_answers_are_predicted_each_token_from_what_is_given_and_those_before(pair):
    model, batch = model_of(pair).eval(), batch_of()
    torch.nn.init.normal_(model.heads["it"].ids.weight)
    step = CausalLM(head=model.heads["it"]).step(model, batch, "it")
    slow = []
    for given, written in PAIRS:
        ids = [TEXT.start, *TEXT(written).values.tolist(), TEXT.stop]
        for n in range(1, len(ids)):
            begun = Tokens(values=torch.tensor(ids[:n]), positions=torch.arange(n)[:, None].float(), modality="text")
            x, layout = model.decode(collate([Sample(id="x", pieces=[TEXT(given)], answer=[begun])]), "it")
            slow.append(-model.heads["it"](x, layout)[-1].log_softmax(-1)[ids[n]])
    torch.testing.assert_close(step.outputs, torch.stack(slow), rtol=1e-4, atol=1e-5)
    assert step.count == sum(len(written) + 1 for _, written in PAIRS)


def test_label_smoothing_mixes_in_the_mean_over_all_ids_in_training_only():
    model, batch = model_of(False), batch_of()
    torch.nn.init.normal_(model.heads["it"].ids.weight)
    plain, smooth = CausalLM(head=model.heads["it"]), CausalLM(head=model.heads["it"], label_smoothing=0.2)
    x, layout = model.decode(batch, "it")
    predicted = layout.index > 0
    log_p = model.heads["it"](x, layout)[predicted.nonzero().flatten() - 1].log_softmax(-1)
    targets = batch.answer.parts["text"].values[predicted]
    by_hand = -(0.8 * log_p[torch.arange(len(targets)), targets] + 0.2 * log_p.mean(-1)).mean()
    torch.testing.assert_close(smooth.step(model.train(), batch, "it").loss, by_hand)
    torch.testing.assert_close(smooth.step(model.eval(), batch, "it").loss, plain.step(model, batch, "it").loss)


@pytest.mark.quick("prefix")
@pytest.mark.parametrize("pair", [False, True], ids=["prefix", "encoder and decoder"])
def test_a_batch_learned_by_heart_is_written_out_and_scores_best(pair):
    model, batch = model_of(pair), batch_of()
    task = task_of(model, strategy=BeamSearch(n_beams=2), scores=["bleu", "wer", "exact_match"], max_new_tokens=16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(120):
        optimizer.zero_grad()
        task.step(model.train(), batch, "it").loss.backward()
        optimizer.step()
    model.eval()
    step, metrics = task.measure(model, batch, "it", "test"), task.metrics()
    assert step.loss < 0.05
    assert step.written == step.expected == tuple(written for _, written in PAIRS)
    task.update(metrics, step, batch)
    found = {name: float(metric.compute()) for name, metric in metrics.items() if metric.update_called}
    assert found["exact_match"] == 1 and found["wer"] == 0 and found["perplexity"] < 1.1


def test_validation_writes_nothing_unless_asked_to():
    model, batch = model_of(False).eval(), batch_of()
    task, metrics = task_of(model), task_of(model).metrics()
    task.update(metrics, task.measure(model, batch, "it", "val"), batch)
    assert metrics["perplexity"].update_called and not metrics["exact_match"].update_called
    assert task_of(model, stages=["val"], max_new_tokens=3).measure(model, batch, "it", "val").written


def test_a_picture_is_described_by_the_same_task():
    model, patches = model_of(False), PatchTokenizer(patch_size=2, channels=1)
    model.embedders["vision"] = VectorEmbedder(d_model=32, features=4, axes=2)
    model.modalities["vision"] = 1
    pictures = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    pictures[1, :, :2] = 255
    words = ["ein", "zwei"]
    batch = collate(
        [
            Sample(id=w, pieces=[patches(p)], answer=[framed(TEXT(w), start=TEXT.start, stop=TEXT.stop)])
            for p, w in zip(pictures, words, strict=True)
        ]
    )
    task = task_of(model, max_new_tokens=8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        task.step(model.train(), batch, "it").loss.backward()
        optimizer.step()
    assert task.measure(model.eval(), batch, "it", "test").written == ("ein", "zwei")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scores": ["blue"]}, "scores: received 'blue', accepted: bleu"),
        ({"stages": ["train"]}, "stages: received 'train', accepted: val, test"),
    ],
)
def test_unknown_scores_and_stages_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        task_of(model_of(False), **options)


def test_a_head_needs_the_tokenizer_of_what_it_writes():
    model = model_of(False)
    with pytest.raises(ValueError, match="no tokenizer for 'text'"):
        ConditionalGeneration(head=model.heads["it"], tokenizers={"vision": PatchTokenizer(patch_size=2, channels=1)})
