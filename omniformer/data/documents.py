"""Documents as token ids, for arrangements that cut text anew."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from omniformer.data.samples import Arrangement, SampleError, check_bad
from omniformer.data.source import Raw

# Documents are encoded this many at a time: enough for the library to use its threads, little enough to hold.
_CHUNK = 1024


def encoded(raws: Sequence[Raw], tokenizer: Any, name: str, how: Arrangement) -> Iterator[tuple[Raw, Tensor]]:
    """The documents of a split with their ids, in order.

    Args:
        raws: the documents.
        tokenizer: of text, fitted.
        name: the name of the data set, for messages.
        how: the arrangement, which says whether documents without a text, or with one that the tokenizer refuses, stop
            the run or are left out with a warning that names them.

    Raises:
        SampleError: such a document where they are not skipped, or more of them than `max_bad_fraction`.
    """
    refused: dict[str, str] = {}
    for start in range(0, len(raws), _CHUNK):
        chunk = [raws[i] for i in range(start, min(start + _CHUNK, len(raws)))]
        try:
            texts = [raw.contents["text"] for raw in chunk]
            yield from zip(chunk, [tokens.values for tokens in tokenizer.encode_batch(texts)], strict=True)
        except (KeyError, ValueError, TypeError):  # one by one, to find the documents at fault
            for raw in chunk:
                try:
                    yield raw, _ids(raw, tokenizer)
                except (ValueError, TypeError) as error:
                    if how.on_error != "skip":
                        cause = f"document {raw.id!r} of {name}: {error}; data.on_error=skip passes over it"
                        raise SampleError(cause) from error
                    refused[raw.id] = str(error)
    if refused:
        check_bad(list(refused), len(raws), how.max_bad_fraction, name)
        shown = "; ".join(f"{key}: {cause}" for key, cause in list(refused.items())[:8])
        warnings.warn(f"{name}: {len(refused)} of {len(raws)} documents were skipped: {shown}", stacklevel=3)


def _ids(raw: Raw, tokenizer: Any) -> Tensor:
    if "text" not in raw.contents:
        raise ValueError(f"has no text, only {sorted(raw.contents)}")
    return tokenizer(raw.contents["text"]).values
