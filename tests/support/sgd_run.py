"""A training whose optimizer is plain stochastic gradient descent: `python sgd_run.py KEY=VALUE...`.

Of a step of AdamW the sizes of gradients cancel, so that rounding of one that is nearly zero would move a weight as far
as any: only plain steps can be compared to the last digits.
"""

import sys
from typing import Any

import torch
from torch import nn

from omniformer.train import main as train
from omniformer.training.optimizers import AdamW


def _sgd(self: AdamW, model: nn.Module) -> Any:
    return torch.optim.SGD(model.parameters(), lr=self.lr)


if __name__ == "__main__":
    AdamW.__call__ = _sgd
    train(sys.argv[1:])
