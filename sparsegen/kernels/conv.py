"""Convolutions and linear layers for the masked-panel kernel; grouped ones for the grouped kernel."""

from __future__ import annotations

import numpy as np

from sparsegen.graph import Layer, Linear
from sparsegen.kernels.grouped import grouped_conv
from sparsegen.kernels.linear import plain_linear
from sparsegen.kernels.masked_panels import PanelProblem, choose_schedule, masked_panels
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.kernels.taps import TapConv2d
from sparsegen.lowering.kernel import Kernel


@kernel_for(TapConv2d)
def convolution(layer: Layer, context: Context) -> Kernel:
    """The kernel of a convolution with any stride, padding, dilation and groups."""
    conv = layer.core
    assert isinstance(conv, TapConv2d)
    if conv.groups > 1:
        return grouped_conv(layer, context)
    source, out = context.layout(layer.inputs[0]), context.layout(layer.name)
    problem = PanelProblem(
        matrix=conv.matrix,
        bias=conv.bias,
        columns_per_channel=conv.weight.shape[2] * conv.weight.shape[3],
        offsets=conv.taps.offsets(source),
        pixels=out.pixel_vectors,
        pixel_steps=source.pixel_steps(conv.taps.stride),
        source=source,
        out=out,
    )
    return _panels(layer, problem, context)


@kernel_for(Linear)
def linear(layer: Layer, context: Context) -> Kernel:
    """The kernel of a linear layer: masked panels with batch lanes, rows of weights without."""
    core, out = layer.core, context.layout(layer.name)
    assert isinstance(core, Linear)
    if not out.batch_lanes:
        return plain_linear(layer, context)
    source = context.layout(layer.inputs[0])
    # The dimensions before the features, of which the planner allows two, are the pixels.
    height, width = (1, 1, *source.element_shape[:-1])[-2:]
    step_y, step_x = (0, 0, *source.strides[:-1])[-2:]
    problem = PanelProblem(
        matrix=core.weight,
        bias=core.bias,
        columns_per_channel=1,
        offsets=(source.base + np.arange(core.weight.shape[1]) * source.strides[-1]).astype(np.int32),
        pixels=(height, width),
        pixel_steps=(step_y, step_x),
        source=source,
        out=out,
        channels_last=True,
    )
    return _panels(layer, problem, context)


def _panels(layer: Layer, problem: PanelProblem, context: Context) -> Kernel:
    knobs = choose_schedule(problem, context.target, threads=context.threads, dense=context.dense)
    epilogue = context.epilogue(layer)
    return masked_panels(problem, knobs, source=layer.inputs[0], epilogue=epilogue, dense=context.dense)
