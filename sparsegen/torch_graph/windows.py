"""Convolutions, pooling and resampling as torch computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sparsegen.graph import Conv2d, Interpolation, Pool2d, Resample2d, Shape

Unary = Callable[[Tensor], Tensor]


def convolution(core: Conv2d, device: torch.device) -> Unary:
    """A convolution; padding that differs from side to side is a step of its own."""
    weight = torch.from_numpy(core.weight).to(device)
    bias = None if core.bias is None else torch.from_numpy(core.bias).to(device)
    stride, dilation, groups = core.stride, core.dilation, core.groups
    top, bottom, left, right = core.padding
    if top == bottom and left == right:
        return lambda x: F.conv2d(x, weight, bias, stride, (top, left), dilation, groups)
    around = (left, right, top, bottom)
    return lambda x: F.conv2d(F.pad(x, around), weight, bias, stride, 0, dilation, groups)


def pooling(core: Pool2d, source: Shape, shape: Shape, device: torch.device) -> Unary:
    """Pooling of images of shape `source` to `shape`, padded by hand where torch does not pad so."""
    kernel, stride, dilation = core.kernel, core.stride, core.dilation
    top, bottom, left, right = core.padding
    fits = (top, left) == (bottom, right) and top <= kernel[0] // 2 and left <= kernel[1] // 2
    ceil = shape[2:] != _floor_extents(core, source)
    if fits and core.kind == "max":
        return lambda x: F.max_pool2d(x, kernel, stride, (top, left), dilation, ceil)
    if fits and dilation == (1, 1):
        counts_padding, divisor = core.count_include_pad, core.divisor
        return lambda x: F.avg_pool2d(x, kernel, stride, (top, left), ceil, counts_padding, divisor)
    around, past = (left, right, top, bottom), _past(core, source, shape)
    if core.kind == "max":
        whole = (left, right + past[1], top, bottom + past[3])
        return lambda x: F.max_pool2d(F.pad(x, whole, value=-torch.inf), kernel, stride, 0, dilation)
    return _average(core, source, around, past, device)


def _average(
    core: Pool2d, source: Shape, around: tuple[int, ...], past: tuple[int, ...], device: torch.device
) -> Unary:
    """Sums over windows, of images padded by hand, times one over what each counts."""
    (height, width), channels = core.kernel, source[1]
    weight = torch.ones(channels, 1, height, width, device=device)

    def sums(x: Tensor, padding: float) -> Tensor:
        padded = F.pad(F.pad(x, around, value=padding), past)
        return F.conv2d(padded, weight, None, core.stride, 0, core.dilation, channels)

    if core.divisor is not None:
        shares = torch.tensor(1 / core.divisor, device=device)
    else:
        shares = 1 / sums(torch.ones(1, *source[1:], device=device), float(core.count_include_pad))
    return lambda x: sums(x, 0.0) * shares


def _floor_extents(core: Pool2d, source: Shape) -> Shape:
    """Height and width of the result where windows that do not fit are left out."""
    padding = (core.padding[0] + core.padding[1], core.padding[2] + core.padding[3])
    sizes = zip(source[2:], padding, core.kernel, core.dilation, core.stride, strict=True)
    return tuple(
        (size + pad - dilation * (kernel - 1) - 1) // stride + 1
        for size, pad, kernel, dilation, stride in sizes
    )


def _past(core: Pool2d, source: Shape, shape: Shape) -> tuple[int, int, int, int]:
    """How far windows reach past the padding, as F.pad takes it: left, right, top, bottom."""
    padding = (core.padding[0] + core.padding[1], core.padding[2] + core.padding[3])
    sizes = zip(shape[2:], source[2:], padding, core.kernel, core.dilation, core.stride, strict=True)
    rows, columns = (
        max(0, (count - 1) * stride + dilation * (kernel - 1) + 1 - size - pad)
        for count, size, pad, kernel, dilation, stride in sizes
    )
    return (0, columns, 0, rows)


_MODES: tuple[Mapping[str, Any], ...] = (
    {"mode": "nearest"}, {"mode": "nearest-exact"}, {"mode": "bilinear", "align_corners": False},
    {"mode": "bilinear", "align_corners": True}, {"mode": "bicubic", "align_corners": False},
    {"mode": "bicubic", "align_corners": True},
)  # fmt: skip


def resampling(core: Resample2d, source: Shape, shape: Shape, device: torch.device) -> Unary:
    """Resampling of images of shape `source`: by F.interpolate where one of its modes does the same."""
    size = tuple(shape[2:])
    for mode in _MODES:
        if all(
            _is_mode(axis, extent, mode)
            for axis, extent in zip((core.rows, core.columns), source[2:], strict=True)
        ):
            return lambda x: F.interpolate(x, size, **mode)
    rows, columns = _along(core.rows, 2, device), _along(core.columns, 3, device)
    return lambda x: columns(rows(x))


def _is_mode(axis: Interpolation, extent: int, mode: Mapping[str, Any]) -> bool:
    """Whether an axis is interpolated as a mode of torch's does it: by what both make of unit vectors."""
    units = torch.eye(extent).reshape(1, extent, extent, 1)
    made = F.interpolate(units, (len(axis.reads), 1), **mode)[0, :, :, 0].T.numpy()
    matrix = np.zeros_like(made)
    np.add.at(matrix, (np.arange(len(axis.reads))[:, None], axis.reads), axis.weights)
    return bool(np.allclose(made, matrix, rtol=0, atol=1e-6))


def _along(axis: Interpolation, dim: int, device: torch.device) -> Unary:
    """Interpolation along one dimension of images, tap by tap."""
    reads = [torch.from_numpy(taps).to(device) for taps in axis.reads.T.copy()]
    if axis.copies:
        return lambda x: x.index_select(dim, reads[0])
    along = (-1, *(1 for _ in range(3 - dim)))
    weights = [torch.from_numpy(taps).to(device).view(along) for taps in axis.weights.T.copy()]

    def run(x: Tensor) -> Tensor:
        taps = [x.index_select(dim, at) * weight for at, weight in zip(reads, weights, strict=True)]
        return torch.stack(taps).sum(0) if len(taps) > 1 else taps[0]

    return run
