"""Plain gradient descent, whose weights differ by as much as gradients do, for runs that are compared."""

from torch import nn
from torch.optim import SGD, Optimizer

from omniformer.training.optimizers import AdamW


class PlainSGD(AdamW):
    """The rate and schedule that the configuration says; no decay, no momentum."""

    def __call__(self, model: nn.Module) -> Optimizer:
        return SGD(model.parameters(), lr=self.lr)
