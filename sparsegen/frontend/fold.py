"""Folding: a scale and a shift by channel right after a convolution or linear go into its weights.

Batch norm comes as such a pair, and so do a layer scale or a division by a constant. Fusing comes
first: it sees to it that nothing else reads the convolution's own result. A scale that is not finite, or
too large for a weight, stays a step of its own: kernels skip zeros, which takes finite weights.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparsegen.graph import Array, Conv2d, Layer, LayerGraph, Linear, Shape, Step

Vector = NDArray[np.float64]


def fold_scales(graph: LayerGraph) -> LayerGraph:
    """Fold the leading affine steps of every convolution's and linear's epilogue; zeros stay zeros."""
    return replace(graph, layers=[_folded(layer, graph.constants) for layer in graph.layers])


def _folded(layer: Layer, constants: dict[str, Array]) -> Layer:
    if not isinstance(layer.core, Conv2d | Linear):
        return layer
    channels = layer.core.weight.shape[0]
    channel_dim = 1 if isinstance(layer.core, Conv2d) else len(layer.shape) - 1
    scale, shift = np.ones(channels), np.zeros(channels)
    folded = 0
    for step in layer.epilogue:
        operand = _by_channel(step, constants, layer.shape, channel_dim)
        if operand is None:
            break
        with np.errstate(invalid="ignore", over="ignore"):
            scale, shift = _compose(step, operand, scale, shift)
        folded += 1
    if folded == 0:
        return layer
    with np.errstate(invalid="ignore", over="ignore"):
        core = _rescaled(layer.core, scale, shift)
    if not np.isfinite(core.weight).all():
        return layer
    return replace(layer, core=core, epilogue=layer.epilogue[folded:])


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
    if step.op == "div" and not array.all():
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


def _rescaled(core: Conv2d | Linear, scale: Vector, shift: Vector) -> Conv2d | Linear:
    by_row = scale.reshape(-1, *(1 for _ in core.weight.shape[1:]))
    bias = shift if core.bias is None else core.bias * scale + shift
    has_bias = core.bias is not None or bool(shift.any())
    return replace(
        core,
        weight=(core.weight * by_row).astype(np.float32),
        bias=bias.astype(np.float32) if has_bias else None,
    )
