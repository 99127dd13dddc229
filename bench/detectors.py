"""A detector as YOLOv5s is, and a classifier of CSP blocks as YOLOv4's backbone; weights are random.

Layers and widths are those of ultralytics/yolov5 (yolov5s, 80 classes, boxes decoded) and of CSPDarknet-53
(Bochkovskiy et al., "YOLOv4", 2020). The activation is a choice: releases of YOLOv5 had LeakyReLU, HardSwish,
and SiLU in turn.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Callable[[], nn.Module]
CLASSES = 80
_ANCHORS = (
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
)
_STRIDES = (8, 16, 32)


class Conv(nn.Sequential):
    """Convolution, batch norm, activation: [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""

    def __init__(
        self, inputs: int, outputs: int, activation: Activation, *, kernel: int = 1, stride: int = 1
    ) -> None:
        padding = (kernel - 1) // 2
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), activation())


class Bottleneck(nn.Module):
    """1x1, 3x3, and the input added where `residual`."""

    def __init__(
        self, channels: int, activation: Activation, *, hidden: int | None = None, residual: bool = True
    ) -> None:
        super().__init__()
        between = channels if hidden is None else hidden
        self.convolutions = nn.Sequential(
            Conv(channels, between, activation), Conv(between, channels, activation, kernel=3)
        )
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] in and out."""
        made: Tensor = self.convolutions(x)
        return x + made if self.residual else made


class CrossStage(nn.Module):
    """Half of the channels through bottlenecks, half past them, and both joined."""

    def __init__(
        self, inputs: int, outputs: int, activation: Activation, *, blocks: int, residual: bool = True
    ) -> None:
        super().__init__()
        half = outputs // 2
        self.first, self.past = Conv(inputs, half, activation), Conv(inputs, half, activation)
        self.blocks = nn.Sequential(*(Bottleneck(half, activation, residual=residual) for _ in range(blocks)))
        self.last = Conv(2 * half, outputs, activation)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W]."""
        joined: Tensor = self.last(torch.cat([self.blocks(self.first(x)), self.past(x)], 1))
        return joined


class Pyramid(nn.Module):
    """Max pooling of 5x5 three times over, all joined: windows of 5, 9 and 13."""

    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        self.first = Conv(channels, channels // 2, activation)
        self.last = Conv(2 * channels, channels, activation)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] in and out."""
        pooled = [self.first(x)]
        for _ in range(3):
            pooled.append(F.max_pool2d(pooled[-1], 5, 1, 2))
        joined: Tensor = self.last(torch.cat(pooled, 1))
        return joined


class Boxes(nn.Module):
    """Features of one stride to boxes [N, 3 H W, 5 + CLASSES]: centre, size, objectness and classes."""

    grid: Tensor
    anchors: Tensor

    def __init__(
        self, channels: int, size: int, stride: int, anchors: tuple[tuple[float, float], ...]
    ) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, len(anchors) * (5 + CLASSES), 1)
        self.stride = stride
        rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        self.register_buffer("grid", torch.stack([columns, rows], -1) - 0.5)
        self.register_buffer("anchors", torch.tensor(anchors).reshape(1, -1, 1, 1, 2))

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, size, size]."""
        batch, _, height, width = x.shape
        found = self.project(x).reshape(batch, 3, 5 + CLASSES, height, width).permute(0, 1, 3, 4, 2).sigmoid()
        centre = (found[..., :2] * 2 + self.grid) * self.stride
        extent = (found[..., 2:4] * 2) ** 2 * self.anchors
        return torch.cat([centre, extent, found[..., 4:]], -1).reshape(batch, -1, 5 + CLASSES)


class Detector(nn.Module):
    """YOLOv5s: images [N, 3, size, size] to boxes of all strides [N, boxes, 5 + CLASSES]."""

    def __init__(self, activation: Activation = nn.SiLU, *, size: int = 640) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> Conv:
            return Conv(inputs, outputs, activation, kernel=kernel, stride=stride)

        def stage(inputs: int, outputs: int, blocks: int = 1, *, residual: bool = False) -> CrossStage:
            return CrossStage(inputs, outputs, activation, blocks=blocks, residual=residual)

        stem = Conv(3, 32, activation, kernel=6, stride=2)
        self.fine = nn.Sequential(
            stem, conv(32, 64, 3, 2), stage(64, 64, residual=True),
            conv(64, 128, 3, 2), stage(128, 128, 2, residual=True),
        )  # fmt: skip
        self.middle = nn.Sequential(conv(128, 256, 3, 2), stage(256, 256, 3, residual=True))
        self.coarse = nn.Sequential(
            conv(256, 512, 3, 2), stage(512, 512, residual=True), Pyramid(512, activation), conv(512, 256)
        )
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.join_middle, self.join_fine = nn.Sequential(stage(512, 256), conv(256, 128)), stage(256, 128)
        self.down_fine, self.down_middle = conv(128, 128, 3, 2), conv(256, 256, 3, 2)
        self.out_middle, self.out_coarse = stage(256, 256), stage(512, 512)
        self.heads = nn.ModuleList(
            Boxes(channels, size // stride, stride, anchors)
            for channels, stride, anchors in zip((128, 256, 512), _STRIDES, _ANCHORS, strict=True)
        )

    def forward(self, images: Tensor) -> Tensor:
        """The boxes, those of the finest stride first."""
        fine = self.fine(images)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = self.join_middle(torch.cat([self.up(coarse), middle], 1))
        fine = self.join_fine(torch.cat([self.up(middle), fine], 1))
        middle = self.out_middle(torch.cat([self.down_fine(fine), middle], 1))
        coarse = self.out_coarse(torch.cat([self.down_middle(middle), coarse], 1))
        levels = zip(self.heads, (fine, middle, coarse), strict=True)
        return torch.cat([head(level) for head, level in levels], 1)


class DarkStage(nn.Module):
    """Halves the image, then a cross stage; that of one block keeps all channels in both halves."""

    def __init__(self, inputs: int, outputs: int, activation: Activation, blocks: int) -> None:
        super().__init__()
        whole = blocks == 1
        half = outputs if whole else outputs // 2
        self.down = Conv(inputs, outputs, activation, kernel=3, stride=2)
        self.past, self.first = Conv(outputs, half, activation), Conv(outputs, half, activation)
        hidden = outputs // 2
        self.blocks = nn.Sequential(
            *(Bottleneck(half, activation, hidden=hidden) for _ in range(blocks)),
            Conv(half, half, activation),
        )
        self.last = Conv(2 * half, outputs, activation)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / 2, W / 2]."""
        halved = self.down(x)
        joined: Tensor = self.last(torch.cat([self.blocks(self.first(halved)), self.past(halved)], 1))
        return joined


class CspDarknet(nn.Sequential):
    """CSPDarknet-53: images [N, inputs, H, W] to logits [N, classes]; `widths`, `blocks` of each stage."""

    def __init__(
        self,
        activation: Activation = nn.Mish,
        *,
        inputs: int = 3,
        stem: int = 32,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
        blocks: tuple[int, ...] = (1, 2, 8, 8, 4),
        classes: int = 1000,
    ) -> None:
        stages = [
            DarkStage(before, width, activation, count)
            for before, width, count in zip((stem, *widths), widths, blocks, strict=False)
        ]
        super().__init__(
            Conv(inputs, stem, activation, kernel=3),
            *stages,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(widths[-1], classes),
        )
