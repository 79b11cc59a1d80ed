import pytest
import torch
from omniformer_tokenizers import BPETokenizer, Tokens

from omniformer.batch import Sample, collate
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder
from omniformer.generation import Sampler, continue_ids, continue_text
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    return BPETokenizer(vocab_size=300).fit(["the café — ☕ and the 東京 of the café"] * 4)


@pytest.fixture(scope="module")
def model(tokenizer) -> OmniFormer:
    torch.manual_seed(1)
    size = tokenizer.vocab_size
    return OmniFormer(
        core=Transformer(d_model=16, n_layers=2, n_heads=2, init_std=0.3, rotary=Rotary),
        embedders={"text": IdEmbedder(d_model=16, vocab_size=size, init_std=1.0)},
        heads={"lm": NextTokenHead(d_model=16, vocab_size=size)},
        rules={"lm": Causal()},
    ).eval()


def greedy_without_cache(model: OmniFormer, ids: list[int], n: int) -> list[int]:
    for _ in range(n):
        positions = torch.arange(len(ids))[:, None].float()
        batch = collate(
            [Sample(id="a", pieces=[Tokens(values=torch.tensor(ids), positions=positions, modality="text")])]
        )
        ids = [*ids, int(model(batch, "lm")[-1].argmax())]
    return ids


def test_cached_greedy_decoding_equals_recomputing_everything(model):
    prompt = [5, 17, 3]
    found = list(continue_ids(model, "lm", torch.tensor(prompt), choose=Sampler(temperature=0), max_new_tokens=20))
    assert prompt + found == greedy_without_cache(model, prompt, 20)


def test_a_full_context_goes_on_from_its_later_half(model):
    prompt, limit = [5, 17, 3, 40], 8
    found = list(
        continue_ids(
            model, "lm", torch.tensor(prompt), choose=Sampler(temperature=0), max_new_tokens=9, max_seq_len=limit
        )
    )
    context, expected = list(prompt), []
    for _ in range(9):
        if len(context) > limit:
            context = context[-limit // 2 :]
        context = greedy_without_cache(model, context, 1)
        expected.append(context[-1])
    assert found == expected


def test_stop_ids_end_the_text_and_are_not_part_of_it(model):
    prompt = torch.tensor([5, 17, 3])
    whole = list(continue_ids(model, "lm", prompt, choose=Sampler(temperature=0), max_new_tokens=6))
    cut = list(continue_ids(model, "lm", prompt, choose=Sampler(temperature=0), max_new_tokens=6, stop={whole[3]}))
    assert cut == whole[: whole.index(whole[3])]


def test_streamed_pieces_are_whole_characters(model, tokenizer):
    cup = tokenizer("☕").values.tolist()
    assert len(cup) > 1  # several tokens, so no piece may be half a cup
    chosen = iter([*cup, *tokenizer("é").values.tolist()])
    pieces = list(
        continue_text(
            model,
            "lm",
            tokenizer,
            "the",
            choose=lambda logits: torch.tensor([next(chosen)]),
            max_new_tokens=len(cup) + 1,
        )
    )
    assert "".join(pieces).startswith("☕")
    assert "\ufffd" not in pieces[0]


def test_an_empty_prompt_of_ids_is_refused(model):
    with pytest.raises(ValueError, match="prompt has no tokens"):
        next(continue_ids(model, "lm", torch.zeros(0, dtype=torch.long), choose=Sampler(), max_new_tokens=1))
