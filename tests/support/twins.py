"""What the twins of all families share: a tiny model of the reference library with random weights, saved, loaded by us,
compared, saved by us, and loaded by the reference again."""

import math

import pytest
import torch

from omniformer import pretrained
from omniformer.recipe import build_model

transformers = pytest.importorskip("transformers")

LOGITS = {"rtol": 1.3e-6, "atol": 1e-5}


def shaken(model, seed=1):
    """The model with weights far from their gentle start, so that every one of them matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.requires_grad:
                parameter.copy_(noise * 0.2 if parameter.ndim > 1 else noise * 0.1 + parameter)
    return model.eval()


def saved(theirs, folder, **options):
    """The folder in which the reference has written its model."""
    theirs.save_pretrained(folder, **options)
    return folder


def ragged_ids(vocab_size, lengths=(7, 2, 12), seed=0, side="right", least=0):
    """Random ids of samples of several lengths, padded: ids and mask."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    ids = torch.randint(least, vocab_size, (len(lengths), longest), generator=generator)
    place = torch.arange(longest)
    taken = torch.stack([place < n if side == "right" else place >= longest - n for n in lengths])
    return ids, taken.long()


def ragged_pair(vocab_size, target_vocab_size=None, least=0, side="right"):
    """Keyword tensors of what is read and of what is written, samples of several lengths each; and which are tokens."""
    ids, mask = ragged_ids(vocab_size, least=least, side=side)
    written, written_mask = ragged_ids(target_vocab_size or vocab_size, lengths=(3, 9, 1), seed=3, least=least)
    inputs = {"input_ids": ids, "attention_mask": mask}
    return inputs | {"decoder_input_ids": written, "decoder_attention_mask": written_mask}, written_mask


def agree(ours, theirs, mask=None, **tolerance):
    """Outputs are equal where tokens take part."""
    if mask is not None:
        ours, theirs = ours[mask.bool()], theirs[mask.bool()]
    torch.testing.assert_close(ours, theirs, **(tolerance or LOGITS))


def agree_in_gradient(ours, theirs, **message):
    """Gradients are equal to a part in 10,000 of each, or two in a million of the tensor's largest: sums round by their
    largest terms, in another order on another processor, and where the tensors lie otherwise in memory."""
    atol = 2e-6 * max(1.0, float(theirs.abs().max())) if theirs.numel() else 0.0
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=atol, **message)


def weighted(output, mask=None):
    """A loss in which every number of the output has a weight of its own, of the size of a mean."""
    rows = output if mask is None else output[mask.bool()]
    weights = torch.randn(rows.shape, generator=torch.Generator().manual_seed(2))
    return (rows * weights).sum() / math.sqrt(rows.numel())


def twin(theirs, folder, pick, inputs, mask=None, as_filed=None):
    """The whole proof of one configuration: outputs, gradients of every weight, and the way back.

    Args:
        theirs: the reference's model.
        folder: an empty one.
        pick: gets the compared outputs from what either model returns.
        inputs: keyword tensors.
        mask: which rows of the outputs are tokens.
        as_filed: makes of tensors named as in the reference's memory those named as in its files, where it stacks some.
    """
    theirs = shaken(theirs)
    model = pretrained.load(saved(theirs, folder / "theirs"))
    reference = pretrained.as_reference(model)
    expected, found = pick(theirs(**inputs)), pick(reference(**inputs))
    agree(found, expected, mask)
    weighted(expected, mask).backward()
    weighted(found, mask).backward()
    compare_gradients(model, theirs, as_filed)
    model.save_pretrained(folder / "ours")
    again = type(theirs).from_pretrained(folder / "ours").eval()
    # Of the same weights the outputs may still differ in the last bit, where the files lie otherwise in memory.
    unread = {name for name, parameter in theirs.named_parameters() if parameter.grad is None}
    before, after = theirs.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if name not in unread and not torch.equal(before[name], after[name])] == []
    agree(pick(again(**inputs)), expected, mask)
    return model


def counted(config):
    """The weights that the family of a published configuration builds, on the meta device."""
    with torch.device("meta"):
        model = build_model(pretrained.family_of(config).recipe)
    return sum(parameter.numel() for parameter in model.parameters())


def compare_gradients(model, theirs, as_filed=None):
    """Every gradient of theirs, where ours has it."""
    from omniformer.pretrained.names import assemble

    parameters = dict(model.model.named_parameters(remove_duplicate=False))

    def gradient(name):
        tensor = parameters[name]
        return tensor.grad if tensor.grad is not None else torch.zeros_like(tensor)

    yours = {name: each.grad for name, each in theirs.named_parameters(remove_duplicate=False) if each.grad is not None}
    yours = yours if as_filed is None else as_filed(yours)
    prefix = model.family.prefix
    learned = [line for line in model.family.names() if line.ours in parameters]
    compared = set()
    for name, ours in assemble(learned, gradient):
        other = yours.get(name, yours.get(name.removeprefix(prefix)))
        if other is None:
            continue
        agree_in_gradient(ours, other, msg=lambda text, name=name: f"{name}: {text}")
        compared.add(id(other))
    # Tied weights have several names, and one gradient.
    assert [name for name, each in yours.items() if id(each) not in compared] == []
