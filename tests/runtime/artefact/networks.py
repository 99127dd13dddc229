"""Networks that between them have every stored form, and every way to be called and to return."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import sparsegen
from sparsegen.runtime.model import CompiledModel


class Forms(nn.Module):
    """Convolutions: dense and of kernels (Winograd's domain), half and nearly all zeros; and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense = nn.Conv2d(16, 32, 3, padding=1)
        self.kernels = nn.Conv2d(32, 32, 3, padding=1)
        self.halved = nn.Conv2d(32, 48, 1)
        self.sparse = nn.Conv2d(48, 64, 3, padding=1, stride=2)
        self.classes = nn.Linear(64, 10)
        with torch.no_grad():
            self.kernels.weight *= (torch.rand(32, 32) > 0.5)[:, :, None, None]
            self.halved.weight *= torch.rand(self.halved.weight.shape) > 0.5
            self.sparse.weight *= torch.rand(self.sparse.weight.shape) > 0.9

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.kernels(torch.relu(self.dense(x))))
        x = torch.relu(self.sparse(torch.relu(self.halved(x))))
        scores: Tensor = self.classes(x.mean((2, 3)))
        return scores


class Structured(nn.Module):
    """Arguments by name, and a result in a structure with parts that never change."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(6, 4)
        self.register_buffer("order", torch.tensor([2, 0, 1, 3]))
        self.register_buffer("halves", torch.tensor([1.5, -2.0], dtype=torch.bfloat16))

    def forward(self, x: Tensor, *, others: list[Tensor], scale: float = 2.0) -> dict[str, Any]:
        y = self.linear(x) * scale
        return {
            "sum": (y + others[0], [torch.relu(y)]),
            "known": (self.order, None, 3, float("inf"), self.halves),
        }


def example(batch: int = 1, seed: int = 0) -> Tensor:
    """Images for `Forms`."""
    return torch.randn(batch, 16, 28, 28, generator=torch.Generator().manual_seed(seed))


@functools.cache
def forms(batch: int = 1, target: str = "haswell", threads: int = 1) -> CompiledModel:
    """`Forms`, compiled."""
    return sparsegen.compile(Forms().eval(), (example(batch),), threads=threads, target=target, database=None)


@functools.cache
def structured() -> CompiledModel:
    """`Structured`, compiled."""
    return sparsegen.compile(
        Structured().eval(),
        (torch.ones(3, 6),),
        {"others": [torch.ones(3, 4)], "scale": 3.0},
        threads=1,
        target="haswell",
        database=None,
    )


def saved(model: CompiledModel, folder: Path) -> Path:
    """The file of a model, in a folder."""
    path = folder / "model.sparsegen"
    model.save(path)
    return path
