"""Small models that the command's tests name as `tests.cli.networks:small`."""

from __future__ import annotations

import torch
from torch import nn


def small() -> nn.Module:
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
