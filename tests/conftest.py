"""One thread: the small tensors of tests lose more to threads than they gain."""

import torch

torch.set_num_threads(1)
