"""Models that several processes share: divided weights, and what training, checkpoints and folders need of them."""
