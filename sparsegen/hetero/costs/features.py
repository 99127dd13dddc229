"""What a layer is, as numbers that a cost model learns from: sizes as logarithms, shares, counts of steps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from sparsegen.devices import describe
from sparsegen.graph import Conv2d, Layer, Pool2d, Recurrent, SeparableConv2d, Shape
from sparsegen.hetero.operators.work import kernels_of

Features = Mapping[str, float]
"""Numbers by name, all finite; what does not apply to a layer is missing."""


def layer_features(
    layer: Layer, shapes: Mapping[str, Shape], constants: Collection[str], *, lanes: int, zeros: bool
) -> dict[str, float]:
    """The features of a layer of a frontend's graph, for vectors of so many lanes.

    `zeros` tells whether what computes it leaves zeros among its weights out: only then do they count.
    `shapes` and `constants` are as of `devices.describe`.
    """
    described = describe(layer, shapes, constants)
    source = shapes.get(layer.inputs[0], layer.shape) if layer.inputs else layer.shape
    moved = described.read + described.written + described.weights
    found = {
        "multiply-adds": log_size(described.multiply_adds),
        "elements read": log_size(described.read),
        "elements written": log_size(described.written),
        "weights": log_size(described.weights),
        "multiply-adds per element": log_size(described.multiply_adds / max(1, moved)),
        "inputs": float(len(layer.inputs)),
        "steps": float(len(described.steps)),
        "step operands": float(sum(isinstance(step.operand, str) for step in layer.epilogue)),
        "batch": log_size(layer.shape[0] if layer.shape else 1),
        "dimensions": float(len(layer.shape)),
        **{f"step {name}": float(count) for name, count in Counter(described.steps).items()},
        **_extents("input", source, lanes),
        **_extents("output", layer.shape, lanes),
        **_core(layer),
    }
    weights = [*kernels_of(layer.core)]
    if zeros and weights:
        kept = sum(int(np.count_nonzero(each)) for each in weights) / sum(each.size for each in weights)
        found["density"] = kept
        found["nonzero multiply-adds"] = log_size(described.multiply_adds * kept)
    return found


def log_size(number: float) -> float:
    """A number of at least 0, as trees split it best: the logarithm to base 2 of one more."""
    return math.log2(1 + number)


def _extents(which: str, shape: Shape, lanes: int) -> dict[str, float]:
    """Channels, pixels and rows of an image; of a matrix, its rows count as pixels, its columns as channels.

    Filled is the share of lanes in use where vectors stand over pixels, a row's pixels, or channels.
    """
    if len(shape) < 2:
        return {}
    image = len(shape) == 4
    channels = shape[1] if image else shape[-1]
    pixels = math.prod(shape[2:] if image else shape[1:-1])
    return {
        f"{which} channels": log_size(channels),
        f"{which} pixels": log_size(pixels),
        f"{which} width": log_size(shape[-1]),
        f"{which} lanes filled by pixels": _filled(pixels, lanes),
        f"{which} lanes filled by rows": _filled(shape[-1], lanes),
        f"{which} lanes filled by channels": _filled(channels, lanes),
    }


def _filled(extent: int, lanes: int) -> float:
    return extent / (math.ceil(extent / lanes) * lanes) if extent else 0.0


def _core(layer: Layer) -> dict[str, float]:
    match layer.core:
        case Conv2d(weight, _, stride, padding, dilation, groups):
            return {**_window(weight.shape[2:], stride, dilation), **_of_conv(padding, groups)}
        case SeparableConv2d(depthwise=Conv2d(weight, _, stride, padding, dilation, groups)):
            return {**_window(weight.shape[2:], stride, dilation), **_of_conv(padding, groups)}
        case Pool2d(_, kernel, stride, padding, dilation):
            return {**_window(kernel, stride, dilation), **_of_conv(padding, 1)}
        case Recurrent(hidden=hidden):
            return {"hidden": log_size(hidden)}
        case _:
            return {}


def _window(kernel: Shape, stride: Shape, dilation: Shape) -> dict[str, float]:
    return {
        "kernel height": float(kernel[0]),
        "kernel width": float(kernel[1]),
        "stride down": float(stride[0]),
        "stride across": float(stride[1]),
        "dilation": float(max(dilation)),
    }


def _of_conv(padding: tuple[int, int, int, int], groups: int) -> dict[str, float]:
    return {"padding": float(max(padding)), "groups": log_size(groups)}
