"""Compiled models whose programs tests look at, and damage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sparsegen
from sparsegen import compiler
from tests.lowering.golden_cases import fixed_target
from tests.runtime.networks import compiled_network


class Mixed(nn.Module):
    """Kernels and torch's operators in turn, constants of both, and a result in a structure."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4, dtype=torch.float32, device="cpu")
        with torch.no_grad():
            self.linear.weight.copy_(torch.arange(24.0).view(4, 6) / 10)
            self.linear.bias.copy_(torch.arange(4.0))
        self.register_buffer("order", torch.tensor([2, 0, 1, 3], device="cpu"))

    def forward(self, x: Tensor, *, scale: float = 2.0) -> dict[str, Any]:
        values, places = self.linear(x).topk(2, dim=-1)
        kept = torch.cat([x, x]).cumsum(0, dtype=torch.float64)[:, :1]
        return {
            "values": values * scale,
            "places": places.clamp(max=float("inf")),
            "known": (self.order, None, 3),
            "kept": kept,
        }


@pytest.fixture(scope="module")
def any_machine() -> Iterator[None]:
    """Compile for a CPU whose caches are not this machine's: golden files are the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "parse_target", fixed_target)
        yield


@pytest.fixture(scope="module")
def mixed(any_machine: None) -> sparsegen.CompiledModel:
    x = torch.ones(3, 6, dtype=torch.float32, device="cpu")
    with pytest.warns(UserWarning, match="torch itself"):
        return sparsegen.compile(
            Mixed().eval(), (x,), {"scale": 3.0}, threads=1, target="haswell", database=None
        )


@pytest.fixture(scope="module")
def images(any_machine: None) -> sparsegen.CompiledModel:
    return compiled_network()
