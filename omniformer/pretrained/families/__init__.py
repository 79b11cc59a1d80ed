"""One file for each family of published models: what its configuration means, and what its tensors are called."""
