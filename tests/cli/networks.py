"""Small models that the command's tests name as `tests.cli.networks:small`."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations


def small() -> nn.Sequential:
    """Two convolutions to prune, `2` and `4`, for images of 3x12x12."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 10, 3, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(10, 4),
    )


def one_convolution() -> nn.Module:
    """Nothing to prune: the only convolution is the first."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def not_finite() -> nn.Module:
    """A NaN among the weights of layer `2`."""
    model = small()
    with torch.no_grad():
        model.get_submodule("2").weight[0, 0, 0, 0] = float("nan")  # type: ignore[index, operator, union-attr]
    return model


def two_inputs() -> nn.Module:
    """A model that no name can give its inputs."""
    return nn.Bilinear(3, 4, 5)


def scripted() -> nn.Module:
    """A model whose code is gone."""
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.script(small())


def raising() -> nn.Module:
    """A model whose own code fails."""

    class Raising(nn.Module):
        def forward(self, value: Tensor) -> Tensor:
            raise ValueError("five channels are needed")

    return nn.Sequential(nn.Conv2d(3, 8, 3), Raising(), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))


def normed() -> nn.Module:
    """`small`, the weight of `2` computed from others."""
    model = small()
    parametrizations.weight_norm(model[2])
    return model


class Digamma(nn.Module):
    """An operator that sparsegen has no kernel for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.digamma(x)


class Cumulated(nn.Module):
    """Another one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.cumsum(1)


def unsupported() -> nn.Module:
    """`small` with operators that sparsegen has no kernel for."""
    return nn.Sequential(Digamma(), small(), Cumulated())


def linear() -> nn.Module:
    """Linear layers, which tell torch's logs when an input does not fit them."""
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 2))


class Tokens(nn.Module):
    """Classes of token ids, of which a mask leaves some out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.first, self.last = nn.Embedding(9, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, ids: Tensor, scale: float = 1.0, mask: Tensor | None = None) -> Tensor:
        value = self.table(ids)
        if mask is not None:
            value = value.masked_fill(mask[..., None], 0.0)
        result: Tensor = self.last((self.first(value) * scale).relu().mean(1))
        return result


def tokens() -> nn.Module:
    """A model that takes integers, and a mask by name."""
    return Tokens()
