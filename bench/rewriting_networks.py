"""The networks that `bench.rewriting` rewrites: whole ones of random weights, small ones for digits.

The small ones have the operators of the whole ones, so that what rewriting does to decisions is seen on real
inputs. They are trained anew from a fixed seed, in seconds; weights are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.caption_model import Decoder
from bench.detectors import Activation, CspDarknet, Detector
from bench.finetuning import Examples, train
from bench.models import Encoder
from sparsegen.frontend import load_model

SEED = 0
PIXELS = 14
"""A side of the digits that the small networks read."""
_SETTLING = 4  # images that batch norm's statistics are taken from
_IMAGE, _DARKNET_IMAGE = (3, 224, 224), (3, 256, 256)


class FeedForward(nn.Sequential):
    """A linear layer to four times as many features, GELU, and one back, as in BERT base: [N, S, 768]."""

    def __init__(self, features: int = 768) -> None:
        super().__init__(nn.Linear(features, 4 * features), nn.GELU(), nn.Linear(4 * features, features))


class Recurrence(nn.Module):
    """The captioner's LSTM with its projection to words, fed all words at once: [N, steps, 256] in."""

    def __init__(self) -> None:
        super().__init__()
        decoder = Decoder()
        self.lstm = nn.LSTM(decoder.cell.input_size, decoder.units, batch_first=True)
        self.word = decoder.word

    def forward(self, fed: Tensor) -> Tensor:
        """Scores of words [N, steps, words]."""
        scores: Tensor = self.word(self.lstm(fed)[0])
        return scores


@dataclass(frozen=True)
class Network:
    """A whole network of random weights; `make` gives it in evaluation mode. shapes: of its inputs."""

    name: str
    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]

    def drawn(self) -> nn.Module:
        """The network, its weights drawn from the seed, batch norm's statistics from random images.

        With these, values are of the size that a trained network's have.
        """
        torch.manual_seed(SEED)
        network = self.make()
        norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
        if norms:
            for norm in norms:
                norm.momentum = None  # the mean of all that is seen
            network.train()
            with torch.no_grad():
                network(*(torch.randn(_SETTLING, *shape[1:]) for shape in self.shapes))
        return network.eval()


def _zoo(name: str) -> nn.Module:
    network, _ = load_model(name, batch=1)
    assert isinstance(network, nn.Module)
    return network


def _detector(activation: Activation, size: int) -> Network:
    name = f"YOLOv5s-like, {activation().__class__.__name__}, {size}"
    return Network(name, lambda: Detector(activation, size=size), ((1, 3, size, size),))


DETECTORS = [_detector(activation, size) for activation in (nn.Hardswish, nn.SiLU) for size in (320, 640)]
"""Beside which users' reports of YOLOv5s stand."""
NETWORKS = [
    Network("EfficientNet-B0", lambda: _zoo("efficientnet_b0"), ((1, *_IMAGE),)),
    Network("MobileNet-V3 large", lambda: _zoo("mobilenetv3_large_w1"), ((1, *_IMAGE),)),
    Network("CSPDarknet-53, Mish", CspDarknet, ((1, *_DARKNET_IMAGE),)),
    Network("BERT's feed-forward", FeedForward, ((1, 128, 768),)),
    Network("BERT's encoder, 1 layer", lambda: Encoder(layers=1, attention="eager"), ((1, 128, 768),)),
    Network("captioner's LSTM, 20 steps", Recurrence, ((1, 20, 256),)),
    Network("captioner's decoder, greedy", Decoder, ((1, 1024), (1, 512), (1, 512))),
    *DETECTORS,
]  # fmt: skip


class Gate(nn.Module):
    """Squeeze and excitation: channels scaled by a function of the image's mean."""

    def __init__(self, channels: int, activation: Activation, gate: Activation) -> None:
        super().__init__()
        hidden = channels // 4
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            activation(),
            nn.Conv2d(hidden, channels, 1),
            gate(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] in and out."""
        scaled: Tensor = x * self.scale(x)
        return scaled


def gated(activation: Activation, within: Activation, gate: Activation) -> nn.Module:
    """Digits [N, 1, 14, 14] to logits [N, 10] by three depthwise blocks with gates, `within` in these."""

    def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        hidden = 3 * inputs
        return [
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), activation(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden),
            activation(), Gate(hidden, within, gate),
            nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        ]  # fmt: skip

    return nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), activation(),
        *block(12, 16, 2), *block(16, 16, 1), *block(16, 24, 2),
        nn.Conv2d(24, 64, 1), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


class TokenMixer(nn.Module):
    """Rows of pixels as tokens [N, 14, 14], two feed-forward blocks with GELU and residual, and logits."""

    def __init__(self, features: int = 48) -> None:
        super().__init__()
        self.embed = nn.Linear(PIXELS, features)
        self.blocks = nn.ModuleList(FeedForward(features) for _ in range(2))
        self.classify = nn.Linear(PIXELS * features, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, 10] of images [N, 1, 14, 14]."""
        x = self.embed(images.squeeze(1))
        for block in self.blocks:
            x = x + block(x)
        logits: Tensor = self.classify(x.flatten(1))
        return logits


class RowReader(nn.Module):
    """An LSTM over the rows of pixels, and logits of its last state."""

    def __init__(self, units: int = 48) -> None:
        super().__init__()
        self.lstm = nn.LSTM(PIXELS, units, batch_first=True)
        self.classify = nn.Linear(units, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, 10] of images [N, 1, 14, 14]."""
        logits: Tensor = self.classify(self.lstm(images.squeeze(1))[0][:, -1])
        return logits


DIGIT_NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], int]] = {
    "SiLU and gates (EfficientNet)": (lambda: gated(nn.SiLU, nn.SiLU, nn.Sigmoid), 8),
    "hardswish and gates (MobileNet-V3)": (lambda: gated(nn.Hardswish, nn.ReLU, nn.Hardsigmoid), 8),
    "Mish (CSPDarknet)": (
        lambda: CspDarknet(nn.Mish, inputs=1, stem=8, widths=(16, 32), blocks=(1, 2), classes=10), 6,
    ),
    "GELU feed-forward": (TokenMixer, 8),
    "LSTM over rows": (RowReader, 16),
}  # fmt: skip
"""Networks for digits [N, 1, 14, 14], and the epochs that they are trained for."""


def trained(name: str, data: Examples) -> nn.Module:
    """A network of DIGIT_NETWORKS, trained from the seed, in evaluation mode."""
    make, epochs = DIGIT_NETWORKS[name]
    torch.manual_seed(SEED)
    network = make()
    train(network, data, epochs=epochs, seed=SEED)
    return network.eval()
