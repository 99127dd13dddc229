"""Operators with a schedule space, evaluated by torch in float64: what their kernels are checked against."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsegen.graph import AdaptivePool2d, Array, Conv2d, Linear, Pool2d, SeparableConv2d, Shape

Operator = Conv2d | SeparableConv2d | Linear | Pool2d | AdaptivePool2d


def evaluate_operator(core: Operator, x: Tensor, shape: Shape) -> Tensor:
    """The operator's result in float64, of the given shape, for an input of any float dtype.

    Pointwise steps are left out, those between two convolutions too.
    """
    value = x.double()
    match core:
        case Conv2d():
            return convolution_reference(core, value)
        case SeparableConv2d(depthwise=depthwise, pointwise=pointwise):
            return convolution_reference(pointwise, convolution_reference(depthwise, value))
        case Linear(weight, bias):
            return F.linear(value, as_double(weight), None if bias is None else as_double(bias))
        case Pool2d():
            return _pool2d(core, value, shape)
        case AdaptivePool2d(kind, output):
            return (F.adaptive_max_pool2d if kind == "max" else F.adaptive_avg_pool2d)(value, output)


def convolution_reference(conv: Conv2d, x: Tensor) -> Tensor:
    """The convolution of `x`, [N, C, H, W] of any float dtype, in float64."""
    top, bottom, left, right = conv.padding
    padded = F.pad(x.double(), (left, right, top, bottom))
    bias = None if conv.bias is None else as_double(conv.bias)
    weight = as_double(conv.weight)
    return F.conv2d(padded, weight, bias, conv.stride, dilation=conv.dilation, groups=conv.groups)


def as_double(array: Array) -> Tensor:
    """The array as a float64 tensor."""
    return torch.from_numpy(array).double()


def _pool2d(pool: Pool2d, value: Tensor, shape: Shape) -> Tensor:
    """Pool explicitly padded images, so that windows past the padding (ceil mode) are windows like others."""
    top, bottom, left, right = pool.padding
    around = (left, right, top, bottom)
    extents = zip(shape[2:], pool.kernel, pool.stride, pool.dilation, strict=True)
    needed = [(count - 1) * stride + dilation * (size - 1) + 1 for count, size, stride, dilation in extents]
    past_bottom = max(needed[0] - (value.shape[2] + top + bottom), 0)
    past_right = max(needed[1] - (value.shape[3] + left + right), 0)
    past = (0, past_right, 0, past_bottom)

    def pooled(images: Tensor, outside: float, fill: float) -> Tensor:
        padded = F.pad(F.pad(images, around, value=outside), past, value=fill)
        windows = _windows(padded, pool)[:, :, : shape[2], : shape[3]]
        return windows.amax(-1) if pool.kind == "max" else windows.sum(-1)

    if pool.kind == "max":
        return pooled(value, -torch.inf, -torch.inf)
    counts = pooled(torch.ones_like(value), float(pool.count_include_pad), 0.0)
    return pooled(value, 0.0, 0.0) / (counts if pool.divisor is None else pool.divisor)


def _windows(images: Tensor, pool: Pool2d) -> Tensor:
    """Windows [N, C, rows, columns, elements] of images [N, C, H, W]."""
    spans = [dilation * (size - 1) + 1 for size, dilation in zip(pool.kernel, pool.dilation, strict=True)]
    unfolded = images.unfold(2, spans[0], pool.stride[0]).unfold(3, spans[1], pool.stride[1])
    return unfolded[..., :: pool.dilation[0], :: pool.dilation[1]].flatten(-2)
