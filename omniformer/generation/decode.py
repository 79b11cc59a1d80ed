"""Continuing a prompt token by token, over a cache of keys and values."""

import codecs
from collections.abc import Callable, Collection, Iterator

import torch
from omniformer_tokenizers import BPETokenizer
from torch import Tensor

from omniformer.core.cache import KVCache
from omniformer.model import OmniFormer


def continue_ids(
    model: OmniFormer,
    head: str,
    prompt: Tensor,
    *,
    choose: Callable[[Tensor], Tensor],
    max_new_tokens: int,
    max_seq_len: int | None = None,
    stop: Collection[int] = (),
) -> Iterator[int]:
    """Continues a prompt, one id at a time as they are chosen.

    Args:
        model: whose head predicts the next id; in evaluation mode.
        head: its name.
        prompt: at least one id.
        choose: picks an id for each row of logits, for example a `Sampler`.
        max_new_tokens: when to end at the latest.
        max_seq_len: the longest context that the model reads, usually what it was trained on. Once it is full, the
            later half of it is read anew and the rest forgotten. No limit by default.
        stop: ids that end the text; they are not yielded.

    Shapes:
        prompt int64 `[tokens]`.

    Raises:
        ValueError: the prompt is empty, or `max_new_tokens` or `max_seq_len` is too small.
    """
    if len(prompt) < 1:
        raise ValueError("the prompt has no tokens; start from the tokenizer's end-of-text id to begin a new text")
    if max_new_tokens < 0 or (max_seq_len is not None and max_seq_len < 2):
        raise ValueError(f"max_new_tokens={max_new_tokens} must be at least 0 and max_seq_len={max_seq_len} at least 2")
    device = next(model.parameters()).device
    context = prompt.to(device)[-max_seq_len if max_seq_len else 0 :]
    fresh, cache = context, _cache(model, device)
    for _ in range(max_new_tokens):
        if max_seq_len is not None and len(context) > max_seq_len:
            context = context[-(max_seq_len // 2) :]
            fresh, cache = context, _cache(model, device)
        with torch.inference_mode():
            logits = model.continue_with(fresh, torch.tensor([len(fresh)]), cache, head)
        fresh = choose(logits.float())
        chosen = int(fresh)
        if chosen in stop:
            return
        context = torch.cat([context, fresh])
        yield chosen


def continue_text(
    model: OmniFormer,
    head: str,
    tokenizer: BPETokenizer,
    prompt: str,
    *,
    choose: Callable[[Tensor], Tensor],
    max_new_tokens: int = 256,
    max_seq_len: int | None = None,
) -> Iterator[str]:
    """Continues a text, piece by piece as it is written; an empty prompt begins a new one.

    A piece is withheld until its bytes are whole characters, so pieces can be printed as they come.

    Arguments as for `continue_ids`.
    """
    begin = torch.tensor([tokenizer.end_of_text])
    ids = continue_ids(
        model,
        head,
        torch.cat([begin, tokenizer(prompt).values]),
        choose=choose,
        max_new_tokens=max_new_tokens,
        max_seq_len=max_seq_len,
        stop={tokenizer.end_of_text},
    )
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for chosen in ids:
        if piece := decoder.decode(tokenizer.token_bytes[chosen]):
            yield piece
    if rest := decoder.decode(b"", final=True):
        yield rest


def _cache(model: OmniFormer, device: torch.device) -> KVCache:
    return KVCache(n_layers=model.core.n_layers, n_samples=1, device=device)  # pyright: ignore[reportArgumentType]
