"""Networks that the scheduler's tests cut, place and run: real ones, on small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsegen.frontend import load_model


def small(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A network of the zoo, whose last pooling takes images of any size, and one small image."""
    network, inputs = load_model(name, batch=1, input_shape=(3, 96, 96))
    assert isinstance(network, nn.Module)
    network.features.final_pool = nn.AdaptiveAvgPool2d(1)
    return network.eval(), inputs


class Inception(nn.Module):
    """Modules of parallel branches between a stem and a classifier; some branches part again."""

    def __init__(self, modules: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.mixed = nn.ModuleList(Mixed(8 if at == 0 else 16) for at in range(modules))
        self.head = nn.Linear(16, 5)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for mixed in self.mixed:
            x = mixed(x)
        return self.head(x.mean((2, 3)))


class Mixed(nn.Module):
    """Four branches of 4 channels: one convolution, two in a row, a pooling, and one that parts in two."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, 4, 1)
        self.row = nn.Sequential(nn.Conv2d(channels, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(channels, 4, 1))
        self.parting = nn.Conv2d(channels, 3, 1)
        self.wide, self.high = (nn.Conv2d(3, 2, size, padding="same") for size in ((1, 3), (3, 1)))

    def forward(self, x: Tensor) -> Tensor:
        parting = self.parting(x).relu()
        parts = (self.one(x), self.row(x), self.pool(x), self.wide(parting), self.high(parting))
        return torch.cat(parts, 1).relu()


class Cells(nn.Module):
    """Cells that each read the two before, as those of NASNet: no articulation point between them."""

    def __init__(self, cells: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.left, self.right = (
            nn.ModuleList(nn.Conv2d(6, 3, size, padding=size // 2) for _ in range(cells)) for size in (1, 3)
        )
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        before = last = self.stem(x)
        for left, right in zip(self.left, self.right, strict=True):
            before, last = last, torch.cat((left(last.softmax(1)), right(before.relu())), 1)
        return last.mean((2, 3))


class MaskedEncoder(nn.Module):
    """Attention in layers that all read what is made of a mask."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(8, 8) for name in ("query", "key", "value", "out")})
            for _ in range(layers)
        )
        self.eval()

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        bias = (1 - mask) * -10
        for layer in self.layers:
            query, key, value = (layer[name](tokens) for name in ("query", "key", "value"))
            shares = (query @ key.transpose(1, 2) + bias).softmax(-1)
            tokens = tokens + layer["out"](shares @ value)
        return tokens


class Decoder(nn.Module):
    """One step of a recurrent decoder: features and the state before; a token's scores and the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(5, 7)
        self.head = nn.Linear(7, 4)
        self.eval()

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = self.cell(features, state)
        return self.head(state), state
