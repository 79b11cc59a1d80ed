import torch

# Autograd begins here, before any test compiles: else it starts threads for the devices of fake tensors, beside which
# no forked process computes gradients.
torch.zeros(1, requires_grad=True).sum().backward()
