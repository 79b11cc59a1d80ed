"""What belongs to one task of a trained model, beside its head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omniformer_tokenizers import Tokenizer

from omniformer.inputs import reads_text

if TYPE_CHECKING:
    from omniformer.generation.allowed import Allowed
    from omniformer.generation.speech import Speech


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What belongs to one task of a trained model.

    Args:
        tokenizers: by modality.
        labels: the names of its classes; empty where there are none.
        max_seq_len: the longest sequence it was trained on, in tokens; None where samples have their own lengths.
        given: for a task that writes, the modalities that it reads first: pictures for captions, a sentence for its
            translation. Empty for a language model, which goes on from its prompt.
        allowed: for a task that writes texts, which ids they may hold, and where; all, everywhere by default.
        speech: for a task that writes down speech window by window, how its ids say language and time.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> text = ByteTokenizer()
        >>> member = Member(tokenizers={"german": text, "english": text}, given=("german",))
        >>> member.takes, member.kinds, member.reads_text
        (('german',), {'text'}, True)
    """

    tokenizers: Mapping[str, Tokenizer]
    labels: tuple[str, ...] = ()
    max_seq_len: int | None = None
    given: tuple[str, ...] = ()
    allowed: "Allowed | None" = None
    speech: "Speech | None" = None

    @property
    def takes(self) -> Sequence[str]:
        """The modalities that the task reads: without those that it only writes."""
        return self.given or tuple(self.tokenizers)

    @property
    def kinds(self) -> set[str]:
        """What those modalities are to their tokenizers."""
        return {self.tokenizers[name].modality for name in self.takes}

    @property
    def reads_text(self) -> bool:
        """Whether a string is an input of the task, whatever its modality is called."""
        return any(reads_text(self.tokenizers[name]) for name in self.takes)
