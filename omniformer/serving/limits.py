"""How much a server takes on; nothing is imported here, so that `--help` stays light."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a server takes on.

    Args:
        max_bytes: of a request.
        max_inputs: of a request.
        max_pixels: of all pictures of a request; 128 million are ten photographs of a telephone.
        max_sound_seconds: of all sounds of a request.
        max_tokens: of one content, see `omniformer.inputs.at_most`.
        max_new_tokens: of what is written.
        max_batch: inputs that the model reads at once.
        max_waiting: inputs that wait or are with the model.
        max_streams: texts that are streamed at a time.
        window: how long the first input of a batch waits for others, in seconds.
        seconds: in which a request must have come, and be answered; of a streamed text, each piece.
    """

    max_bytes: int = 32 << 20
    max_inputs: int = 64
    max_pixels: int = 128_000_000
    max_sound_seconds: float = 3600.0
    max_tokens: int = 16_384
    max_new_tokens: int = 1024
    max_batch: int = 32
    max_waiting: int = 256
    max_streams: int = 8
    window: float = 0.005
    seconds: float = 60.0
