"""Weights that operators share count once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsegen.frontend import from_torch
from sparsegen.hetero.operators.cut import operators
from sparsegen.hetero.operators.weights import weight_bytes


class Steps(nn.Module):
    """A linear layer of 6 x 6, used three times, and one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.last = nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.tanh(self.step(x))
        last: Tensor = self.last(x)
        return last


def test_unrolled_steps_have_their_weights_once() -> None:
    torch.manual_seed(0)
    graph = from_torch(Steps().eval(), (torch.zeros(1, 6),))
    by_layer = weight_bytes(graph, operators(graph, "layer"))
    linear = [size for name, size in by_layer.items() if size]
    assert linear == [4 * (36 + 6), 4 * (30 + 5)]
    assert sum(by_layer.values()) == sum(weight_bytes(graph, operators(graph, "model")).values())


def test_weights_that_differ_all_count() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    with torch.no_grad():
        model[2].weight.copy_(model[0].weight)
        model[2].weight[5, 5] += 1  # they differ in the last element alone
    graph = from_torch(model.eval(), (torch.zeros(1, 6),))
    assert sum(weight_bytes(graph, operators(graph, "layer")).values()) == 2 * 4 * (36 + 6)
