"""The layer graph: what the frontend hands to the compiler.

A graph is a list of layers in an order that runs. Every layer has one *core* operator, read from
its `inputs`, and an *epilogue*: pointwise steps applied to the core's result before it is stored.
A pointwise operator on its own is a layer whose core is `Identity`. Every value is a tensor with a static
shape; constants (parameters that are not a convolution's or linear's own weights) are arrays of the graph.

What has no kernel is an `Extern`: torch itself computes it. Its inputs and results are plain torch tensors of
any dtype. All other layers read and write float32.
"""

from __future__ import annotations

from sparsegen.graph.cores import (
    AdaptivePool2d,
    Array,
    Concat,
    Conv2d,
    Core,
    Extern,
    Gather,
    GroupNorm,
    Identity,
    Interpolation,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    LoweredCore,
    MatMul,
    Mean,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    PlainCore,
    Pool2d,
    Read,
    Recurrent,
    Reduce,
    Resample2d,
    Reshape,
    Result,
    SeparableConv2d,
    Shape,
    Slice,
    Softmax,
    adaptive_windows,
)
from sparsegen.graph.dtypes import FLOAT32, ITEM_BYTES
from sparsegen.graph.layers import CallForm, Layer, LayerGraph, apart, approximated_steps
from sparsegen.graph.piecewise import Piecewise
from sparsegen.graph.steps import BINARY, SELECTIONS, UNARY, ApproximatedStep, Step
from sparsegen.graph.values import ValueForm

__all__ = [
    "BINARY",
    "FLOAT32",
    "ITEM_BYTES",
    "SELECTIONS",
    "UNARY",
    "AdaptivePool2d",
    "ApproximatedStep",
    "Array",
    "CallForm",
    "Concat",
    "Conv2d",
    "Core",
    "Extern",
    "Gather",
    "GroupNorm",
    "Identity",
    "Interpolation",
    "Layer",
    "LayerGraph",
    "LayerNorm",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "LoweredCore",
    "MatMul",
    "Mean",
    "Pad",
    "Permute",
    "Piecewise",
    "PixelShuffle",
    "PixelUnshuffle",
    "PlainCore",
    "Pool2d",
    "Read",
    "Recurrent",
    "Reduce",
    "Resample2d",
    "Reshape",
    "Result",
    "SeparableConv2d",
    "Shape",
    "Slice",
    "Softmax",
    "Step",
    "ValueForm",
    "adaptive_windows",
    "apart",
    "approximated_steps",
]
