"""Models to prune, and filters drawn at random."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsegen.errors import SparsegenError


class Network(nn.Module):
    """A stem, two convolutions to prune, a depthwise one, a hidden linear layer, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.wide = nn.Conv2d(8, 12, 3, padding=1)
        self.depthwise = nn.Conv2d(12, 12, 3, groups=12)
        self.narrow = nn.Conv2d(12, 6, 1, bias=False)
        self.hidden = nn.Linear(6, 8)
        self.classifier = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(torch.relu(self.depthwise(self.wide(self.stem(x)))))
        result: Tensor = self.classifier(torch.relu(self.hidden(x.mean((2, 3)))))
        return result


def network() -> Network:
    torch.manual_seed(0)
    return Network()


def images() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def sandwich(weight: Tensor) -> nn.Sequential:
    """A model whose only convolution (or linear layer) to prune, `1`, has `weight`."""
    channels, inputs = weight.shape[:2]
    middle: nn.Module
    if weight.dim() == 4:
        middle = nn.Conv2d(inputs, channels, tuple(weight.shape[2:]), bias=False)  # type: ignore[arg-type]
    else:
        middle = nn.Linear(inputs, channels, bias=False)
    middle.weight = nn.Parameter(weight.clone())
    return nn.Sequential(nn.Conv2d(1, inputs, 1), middle, nn.Linear(1, 1))


def refused(sparsity: float, parts: int, prune: Callable[[], object]) -> bool:
    """Prune; whether that was refused, as it has to be where the sparsity takes all parts of the layer."""
    if round(sparsity * parts) < parts:
        prune()
        return False
    with pytest.raises(SparsegenError, match="takes them all"):
        prune()
    return True


def weight_of(model: nn.Module, name: str) -> Tensor:
    """The weight that a layer multiplies with."""
    weight = model.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight.detach()


@st.composite
def filters(draw: st.DrawFn, *, channels_of: int = 1) -> Tensor:
    """Filters [K, C, kh, kw], C a multiple of `channels_of`, often of few distinct values: magnitudes tie."""
    shape = [
        draw(st.integers(1, 9)),
        channels_of * draw(st.integers(1, 5)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
    ]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    if draw(st.booleans()):
        return torch.randn(shape, generator=generator)
    signs = torch.randint(0, 2, shape, generator=generator) * 2 - 1
    return torch.randint(1, 4, shape, generator=generator) * signs.float()


sparsities = st.floats(0, 0.999)
