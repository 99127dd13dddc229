"""Folding: a scale and a shift by channel right after a convolution or linear go into its weights.

Batch norm comes as such a pair, and so do a layer scale or a division by a constant. Fusing comes
first: it sees to it that nothing else reads the convolution's own result. What would change more than
rounding is not folded: a scale past float32's range, and shifts that cancel, as `(x + 1e8) - 1e8`, which
rounds x.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from sparsegen.graph import Array, Conv2d, Layer, LayerGraph, Linear, Shape, Step

Vector = NDArray[np.float64]

_LARGEST = float(np.finfo(np.float32).max)
_CANCELLED = 2.0**-8  # of a shift: where a second one leaves less of it, the first was there to round


def fold_scales(graph: LayerGraph) -> LayerGraph:
    """Fold the leading affine steps of every convolution's and linear's epilogue; zeros stay zeros."""
    return replace(graph, layers=[_folded(layer, graph.constants) for layer in graph.layers])


def _folded(layer: Layer, constants: dict[str, Array]) -> Layer:
    if not isinstance(layer.core, Conv2d | Linear):
        return layer
    channels = layer.core.weight.shape[0]
    channel_dim = 1 if isinstance(layer.core, Conv2d) else len(layer.shape) - 1
    folds = [(np.ones(channels), np.zeros(channels))]  # scale and shift once so many steps are folded
    for step in layer.epilogue:
        operand = _by_channel(step, constants, layer.shape, channel_dim)
        if operand is None:
            break
        scale, shift = _compose(step, operand, *folds[-1])
        if not _is_in_range(layer.core, scale, shift):
            break
        if step.op in ("add", "sub") and np.any(np.abs(shift) < _CANCELLED * np.abs(folds[-1][1])):
            folds = list(takewhile(lambda fold: not fold[1].any(), folds))
            break
        folds.append((scale, shift))
    folded = len(folds) - 1
    if folded == 0:
        return layer
    return replace(layer, core=_rescaled(layer.core, *folds[-1]), epilogue=layer.epilogue[folded:])


def _by_channel(step: Step, constants: dict[str, Array], shape: Shape, channel_dim: int) -> Vector | None:
    """The step's operand as one number a channel; None where it is no affine step by channel."""
    if step.op not in ("add", "sub", "mul", "div") or step.reverse or step.operand is None:
        return None
    if isinstance(step.operand, str) and step.operand not in constants:
        return None
    array = np.asarray(
        constants[step.operand] if isinstance(step.operand, str) else step.operand, dtype=np.float64
    )
    aligned = (1,) * (len(shape) - array.ndim) + array.shape
    if any(size != 1 for dim, size in enumerate(aligned) if dim != channel_dim):
        return None
    if not np.isfinite(array).all() or (step.op == "div" and not array.all()):
        return None
    return np.broadcast_to(array.reshape(-1), (shape[channel_dim],))


def _compose(step: Step, operand: Vector, scale: Vector, shift: Vector) -> tuple[Vector, Vector]:
    """Scale and shift of `step(scale * x + shift)`."""
    if step.op == "add":
        return scale, shift + operand
    if step.op == "sub":
        return scale, shift - operand
    if step.op == "mul":
        return scale * operand, shift * operand
    return scale / operand, shift / operand


def _is_in_range(core: Conv2d | Linear, scale: Vector, shift: Vector) -> bool:
    """Whether weights and bias stay finite in float32."""
    weights = np.abs(core.weight).reshape(len(scale), -1).max(axis=1, initial=0.0)
    bias = _shifted(core, scale, shift)
    return bool(np.all(weights * np.abs(scale) <= _LARGEST) and np.all(np.abs(bias) <= _LARGEST))


def _shifted(core: Conv2d | Linear, scale: Vector, shift: Vector) -> Vector:
    return shift if core.bias is None else core.bias * scale + shift


def _rescaled(core: Conv2d | Linear, scale: Vector, shift: Vector) -> Conv2d | Linear:
    by_row = scale.reshape(-1, *(1 for _ in core.weight.shape[1:]))
    bias = _shifted(core, scale, shift)
    has_bias = core.bias is not None or bool(shift.any())
    return replace(
        core,
        weight=(core.weight * by_row).astype(np.float32),
        bias=bias.astype(np.float32) if has_bias else None,
    )
