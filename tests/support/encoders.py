"""What the twins of encoders of text share."""

import torch
from twins import ragged_ids


def padded_texts(*, segments=2, side="right", padding=0, vocab_size=29):
    """Texts of several lengths in segments, with padding where the mask is 0.

    The reference never learns the vector of padding, so that no text holds its id.
    """
    ids, mask = ragged_ids(vocab_size, least=padding + 1, side=side)
    given = {"input_ids": torch.where(mask.bool(), ids, padding), "attention_mask": mask}
    if segments:
        given["token_type_ids"] = torch.arange(ids.shape[1]).expand(ids.shape) * segments // ids.shape[1]
    return given


def both_ends(output):
    """The scores of both ends as one tensor."""
    return torch.stack([output.start_logits, output.end_logits], dim=-1)


def missing_in_the_reference(kind, folder):
    """What the reference does not find in a folder."""
    return kind.from_pretrained(folder, output_loading_info=True)[1]["missing_keys"]
