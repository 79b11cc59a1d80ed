"""Decoding: from a language model's scores to tokens, one after the other."""

from omniformer.generation.decode import continue_ids, continue_text
from omniformer.generation.sampling import Sampler

__all__ = ["Sampler", "continue_ids", "continue_text"]
