"""A small model, for what loads models by their names, and a machine to place it on."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """Two branches of convolutions that meet."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.left, self.right = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return (self.left(x) + self.right(x)).mean((2, 3))


class Branches(nn.Module):
    """Branches of unlike lengths that meet; the sum is split, and put together again."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.branches = nn.ModuleList(
            nn.Sequential(*(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(length)))
            for length in (1, 3, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = (branch(x) for branch in self.branches)
        left, right = (a + b * c).chunk(2, 2)
        return torch.cat([right, left.relu()], 2)


EDGE = """
[[device]]
name = "arm"
kind = "profile"
table = "arm-a53x4"

[[device]]
name = "tpu"
kind = "profile"
table = "edgetpu-usb3"
"""
"""A file of two devices that are tables."""


def small() -> nn.Module:
    return Small().eval()


def branches() -> nn.Module:
    return Branches(3).eval()
