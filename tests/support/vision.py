"""What the twins of models of pictures and sounds share."""

import copy
import tempfile

import torch
from safetensors.torch import load_file

from omniformer import pretrained
from omniformer.inspection.cost import parameters
from omniformer.recipe import build_model


def as_written(theirs):
    """For `twin`: gradients by the names that the reference writes weights under, where its modules have others."""

    def renamed(_):
        holder = copy.deepcopy(theirs)
        with torch.no_grad():
            for weight, twin in zip(holder.parameters(), theirs.parameters(), strict=True):
                weight.copy_(torch.zeros_like(weight) if twin.grad is None else twin.grad)
        with tempfile.TemporaryDirectory() as folder:
            holder.save_pretrained(folder)
            return load_file(f"{folder}/model.safetensors")

    return renamed


def loads_whole(kind, folder, **options):
    """The reference loads the folder and misses nothing, and finds nothing that it does not know."""
    model, told = kind.from_pretrained(folder, output_loading_info=True, **options)
    assert not any(told.values()), told
    return model.eval()


def pixels(*shape, seed=0):
    """Random pictures as a model reads them."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def count(config):
    """The weights of the model that a published configuration describes, built without memory."""
    with torch.device("meta"):
        model = build_model(pretrained.family_of(config).recipe)
    return parameters(model)
