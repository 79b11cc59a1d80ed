from collections.abc import Callable

import pytest
import torch


@pytest.fixture
def share_left() -> Callable[..., float]:
    """Trains on one batch for 60 steps; says which share of the first loss is left."""

    def learn(task, model, batch, lr: float = 0.01) -> float:
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        first = task.step(model, batch, "it").loss.item()
        for _ in range(60):
            loss = task.step(model, batch, "it").loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return task.step(model, batch, "it").loss.item() / first

    return learn
