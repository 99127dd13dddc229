"""A small network with one layer of every structure of zeros, pruned by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CHANNELS = 32
Mask = NDArray[np.bool_]  # [K, C, kh, kw]
Shape = tuple[int, int, int, int]


def unstructured(shape: Shape, rng: np.random.Generator) -> Mask:
    return rng.permutation(np.arange(np.prod(shape)) % 2 == 0).reshape(shape)


def two_of_four(shape: Shape, rng: np.random.Generator) -> Mask:
    out, channels, height, width = shape
    order = rng.random((out, channels // 4, 4, height, width)).argsort(axis=2)
    return (order < 2).reshape(shape)


def vectors_of_four(shape: Shape, rng: np.random.Generator) -> Mask:
    return unstructured((shape[0] // 4, *shape[1:]), rng).repeat(4, axis=0)


def blocks_of_four(shape: Shape, rng: np.random.Generator) -> Mask:
    out, channels, height, width = shape
    blocks = unstructured((out // 4, channels // 4, height, width), rng)
    return blocks.repeat(4, axis=0).repeat(4, axis=1)


def column_combined(shape: Shape, rng: np.random.Generator) -> Mask:
    """Of every 8 columns that stand together in a random order of 144, a row keeps one."""
    out, columns = shape[0], int(np.prod(shape[1:]))
    mask = np.zeros((out, columns), np.bool_)
    for start in range(0, columns, 144):
        for group in rng.permutation(np.arange(start, start + 144)).reshape(-1, 8):
            mask[np.arange(out), rng.choice(group, out)] = True
    return mask.reshape(shape)


def all_zero(shape: Shape, rng: np.random.Generator) -> Mask:
    return np.zeros(shape, np.bool_)


def nine_tenths(shape: Shape, rng: np.random.Generator) -> Mask:
    return rng.permutation(np.arange(np.prod(shape)) % 20 != 0).reshape(shape)


STRUCTURES: dict[str, Callable[[Shape, np.random.Generator], Mask]] = {
    "unstructured": unstructured,
    "two_of_four": two_of_four,
    "vectors_of_four": vectors_of_four,
    "blocks_of_four": blocks_of_four,
    "column_combined": column_combined,
    "all_zero": all_zero,
    "nine_tenths": nine_tenths,
}


class Structures(nn.Module):
    """A dense stem, a convolution of every structure, a half-pruned grouped one, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        for index, (name, mask) in enumerate(STRUCTURES.items()):
            conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
            prune_by_hand(conv, mask, seed=index)
            self.add_module(name, conv)
        self.grouped = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=2)
        prune_by_hand(self.grouped, unstructured, seed=0)
        self.classifier = nn.Linear(CHANNELS, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for name in STRUCTURES:
            x = torch.relu(self.get_submodule(name)(x))
        result: Tensor = self.classifier(self.grouped(x).mean((2, 3)))
        return result


def prune_by_hand(conv: nn.Conv2d, mask: Callable[[Shape, np.random.Generator], Mask], *, seed: int) -> None:
    out, channels, height, width = conv.weight.shape
    kept = mask((out, channels, height, width), np.random.default_rng(seed))
    with torch.no_grad():
        conv.weight.mul_(torch.from_numpy(kept))


def structures() -> nn.Module:
    return Structures().eval()


def sparse_only() -> nn.Module:
    """Nothing but convolutions that pay."""
    conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
    prune_by_hand(conv, vectors_of_four, seed=0)
    return nn.Sequential(conv, nn.ReLU()).eval()


def no_weights() -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)).eval()


def images(batch: int = 16, *, channels: int = 3) -> Tensor:
    return torch.zeros(batch, channels, 10, 10)
