"""What the twins of LLaMA and of other language models share: sizes in which query heads, key heads and widths all
differ, and what they write.
"""

import torch
from omniformer_tokenizers import Tokens
from twins import ragged_ids, twin

from omniformer.batch import Sample, collate
from omniformer.generation import Greedy, write

SIZES = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 29,
    "max_position_embeddings": 64,
}


def writes_alike(theirs, loaded, prompts=((1, 5, 9, 4, 11, 3, 7), (1,), (1, 8, 12)), new=9, cache="growing"):
    """What both write over a cache is the same, id for id, and takes more than one id."""

    def tokens(ids):
        positions = torch.arange(len(ids), dtype=torch.float32)[:, None]
        return Tokens(values=torch.tensor(ids), positions=positions, modality="text")

    samples = [Sample(id=str(i), pieces=[], answer=[tokens(ids)]) for i, ids in enumerate(prompts)]
    found = write(loaded.model, "causal_lm", collate(samples), max_new_tokens=new, strategy=Greedy(), cache=cache)
    options = {"do_sample": False, "max_new_tokens": new, "eos_token_id": None, "pad_token_id": 0}
    expected = [
        tuple(theirs.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **options)[0].tolist())
        for ids in prompts
    ]
    assert [(*ids, *answers[0].ids) for ids, answers in zip(prompts, found, strict=True)] == expected
    assert len({each for ids, whole in zip(prompts, expected, strict=True) for each in whole[len(ids) :]}) > 1


def language_model_twin(theirs, folder, side="right", lengths=(7, 2, 12), vocab_size=29, as_filed=None, new=9):
    """The whole proof of one configuration, and the same ids from greedy search with a cache; the loaded model."""
    ids, mask = ragged_ids(vocab_size, lengths=lengths, side=side)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if side == "left":
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(0)
    has_head = not type(theirs).__name__.endswith("Model") or "LMHead" in type(theirs).__name__
    loaded = twin(theirs, folder, lambda out: out.logits if has_head else out.last_hidden_state, inputs, mask, as_filed)
    if has_head:
        writes_alike(theirs, loaded, new=new)
    return loaded


def answers_alike(theirs, loaded, start, prompts=((5, 9, 4, 11, 3, 7, 2), (2,), (8, 8, 12, 2)), new=8):
    """What an encoder and a decoder answer over a cache is the same, id for id, and as likely."""

    def tokens(ids, modality):
        positions = torch.arange(len(ids), dtype=torch.float32)[:, None]
        return Tokens(values=torch.tensor(ids), positions=positions, modality=modality)

    (given,) = loaded.family.given
    starts = [(start, 5 + 6 * i) for i in range(len(prompts))]  # as where an answer begins with its language
    samples = [
        Sample(id=str(i), pieces=[tokens(ids, given)], answer=[tokens(begin, "text")])
        for i, (ids, begin) in enumerate(zip(prompts, starts, strict=True))
    ]
    found = write(loaded.model, "seq2seq", collate(samples), max_new_tokens=new, strategy=Greedy())
    options = {"do_sample": False, "max_new_tokens": new, "eos_token_id": None, "pad_token_id": 0}
    # Who begins otherwise than the reference expects gets its beginning put before.
    options |= {"decoder_start_token_id": start, "forced_eos_token_id": None}
    options |= {"return_dict_in_generate": True, "output_scores": True}
    for ids, begin, answers in zip(prompts, starts, found, strict=True):
        read = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))}
        out = theirs.generate(**read, decoder_input_ids=torch.tensor([begin]), **options)
        assert answers[0].ids == tuple(out.sequences[0, 2:].tolist())
        likely = theirs.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
        torch.testing.assert_close(torch.tensor(answers[0].log_probs), likely[0], rtol=1e-4, atol=1e-5)
