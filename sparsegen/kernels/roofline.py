"""The least that a layer can take: its bytes over the bandwidth, or its operations over the peak.

The cost of every kernel without a model of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sparsegen.cost import Cost
from sparsegen.graph import FLOAT32, ITEM_BYTES, Layer, MatMul, Pool2d, Recurrent
from sparsegen.kernels.operands import Value

if TYPE_CHECKING:
    from sparsegen.kernels.registry import Context


def roofline(layer: Layer, context: Context) -> Cost:
    """The cost of a layer of which nothing else is known."""
    read, written = traffic(layer, context)
    held = read + written <= context.threads * context.target.l2_bytes
    seconds = max(
        (read + written) / context.target.bandwidth(context.threads, cached=held),
        operations(layer, context) / context.target.peak(context.threads),
    )
    return Cost(seconds, read, written, "roofline")


def predicted(layer: Layer, context: Context, cycles: float, *, weights: int = 0) -> Cost:
    """The cost of a kernel of so many estimated cycles a thread, which reads so many bytes of weights."""
    read, written = traffic(layer, context)
    return Cost(cycles / context.target.speed.clock_hz, read + weights, written, "predicted")


def traffic(layer: Layer, context: Context) -> tuple[int, int]:
    """Bytes that a layer reads of values and constants, each once, and those that it writes."""
    read = sum(_bytes(name, layer, context) for name in set(layer.reads()))
    core = layer.core
    if isinstance(core, Recurrent):
        read += core.weight.nbytes
    return read, _bytes(layer.name, layer, context)


def operations(layer: Layer, context: Context) -> int:
    """Multiply-adds of a layer, or other operations of its elements."""
    out = math.prod(layer.shape)
    match layer.core:
        case MatMul(transpose_a=transposed):
            inner = context.operands[layer.inputs[0]].shape[-2 if transposed else -1]
            return out * inner
        case Pool2d(kernel=(height, width)):
            return out * height * width
        case Recurrent(weight=weight):
            return out // max(1, layer.shape[-1]) * int(np.prod(weight.shape))
        case _:
            return out * (1 + len(layer.epilogue))


def _bytes(name: str, layer: Layer, context: Context) -> int:
    operand = context.operands.get(name)
    if operand is None:  # a plain tensor, of the type of what is made of it, or it of
        return _itemsize(layer, context) * math.prod(layer.shape)
    if isinstance(operand, Value):
        return operand.layout.nbytes
    return int(operand.array.nbytes)


def _itemsize(layer: Layer, context: Context) -> int:
    """Bytes of an element of the laid-out value that a layer writes or reads."""
    operands = (context.operands.get(name) for name in (layer.name, *layer.reads()))
    sizes = (each.layout.itemsize for each in operands if isinstance(each, Value))
    return next(sizes, ITEM_BYTES[FLOAT32])
