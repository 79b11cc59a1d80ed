"""What people hand to a trained model, files and raw objects of any modality, as samples."""

from omniformer.inputs.looks import SUFFIXES, looks_like, modality_of, need_text, reads_text, typed
from omniformer.inputs.named import Named, Refused, expand, listed, named_inputs, of_each
from omniformer.inputs.samples import at_most, batch_of, by_kind, sample_of, text_of, tokens_of

__all__ = [
    "SUFFIXES",
    "Named",
    "Refused",
    "at_most",
    "batch_of",
    "by_kind",
    "expand",
    "listed",
    "looks_like",
    "modality_of",
    "named_inputs",
    "need_text",
    "of_each",
    "reads_text",
    "sample_of",
    "text_of",
    "tokens_of",
    "typed",
]
