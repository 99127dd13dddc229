"""Layers with weights as the panel kernels and Winograd's see them, and what each would choose."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from sparsegen.graph import Layer, Linear, SeparableConv2d
from sparsegen.kernels.implementation import Implementation, Offer
from sparsegen.kernels.panels import PanelChoice, PanelProblem, PanelSchedule, choose, panels
from sparsegen.kernels.registry import Context
from sparsegen.kernels.roofline import predicted
from sparsegen.kernels.taps import TapConv2d
from sparsegen.kernels.winograd import WinogradProblem
from sparsegen.kernels.winograd.choice import WinogradChoice
from sparsegen.kernels.winograd.choice import choose as choose_winograd
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import Layout


def panel_problem(layer: Layer, context: Context) -> PanelProblem | None:
    """The layer as the panel kernels see it; None for a layer that they do not serve."""
    match layer.core:
        case TapConv2d(groups=1):
            made = _conv_problem
        case Linear() if context.layout(layer.name).batch_lanes:
            made = _linear_problem
        case _:
            return None
    layouts = context.layout(layer.inputs[0]), context.layout(layer.name)
    return context.once(("panels", layer, *layouts), lambda: made(layer, *layouts))


def winograd_choice(layer: Layer, context: Context, *, sparse: bool = False) -> WinogradChoice | None:
    """What Winograd's kernel would cost a layer, or the one that skips filters where `sparse`.

    None for a layer that it does not serve, or may not.
    """
    tiles = winograd_problem(layer, context)
    if tiles is None:
        return None
    choice = context.once(
        (tiles.geometry, tiles.kept_digest if sparse else b""),
        partial(choose_winograd, tiles, context.target, threads=context.threads, sparse=sparse),
    )
    return None if choice is None else replace(choice, problem=tiles)


def winograd_problem(layer: Layer, context: Context) -> WinogradProblem | None:
    """The layer as Winograd's kernel sees it; None for a layer that it does not serve, or may not."""
    if not context.winograd or not isinstance(layer.core, TapConv2d):
        return None
    layouts = context.layout(layer.inputs[0]), context.layout(layer.name)
    return context.once(("winograd", layer, *layouts), partial(WinogradProblem.of, layer.core, *layouts))


def choose_panels(problem: PanelProblem, context: Context) -> PanelChoice:
    """The schedule of a problem in a model's context."""
    return context.once(
        problem.identity(dense=context.dense),
        partial(choose, problem, context.target, threads=context.threads, dense=context.dense),
    )


def _conv_problem(layer: Layer, source: Layout, out: Layout) -> PanelProblem:
    """A convolution without groups."""
    conv = layer.core
    assert isinstance(conv, TapConv2d)
    return PanelProblem(
        matrix=conv.matrix,
        bias=conv.bias,
        columns_per_channel=conv.weight.shape[2] * conv.weight.shape[3],
        offsets=conv.taps.offsets(source),
        pixels=out.pixel_vectors,
        pixel_steps=source.pixel_steps(conv.taps.stride),
        source=source,
        out=out,
    )


def _linear_problem(layer: Layer, source: Layout, out: Layout) -> PanelProblem:
    """A linear layer with batch lanes."""
    core = layer.core
    assert isinstance(core, Linear)
    # The dimensions before the features, of which the planner allows two, are the pixels.
    height, width = (1, 1, *source.element_shape[:-1])[-2:]
    step_y, step_x = (0, 0, *source.strides[:-1])[-2:]
    return PanelProblem(
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


def panel_offer(
    implementation: Implementation, layer: Layer, context: Context, schedule: PanelSchedule, cycles: float
) -> Offer:
    """The offer of a panel kernel of so many estimated cycles, under a schedule."""
    core = layer.core
    if isinstance(core, SeparableConv2d):
        weights = core.depthwise.weight.nbytes + core.pointwise.weight.nbytes
    else:
        assert isinstance(core, TapConv2d | Linear)
        weights = core.weight.nbytes
    return Offer(
        implementation, predicted(layer, context, cycles, weights=weights), schedule, schedule.format
    )


def panel_kernel(problem: PanelProblem, layer: Layer, context: Context, schedule: PanelSchedule) -> Kernel:
    """The kernel of a layer that is such a problem, under a schedule without fault."""
    epilogue, registers = context.epilogue(layer), context.target.registers
    source = layer.inputs[0]
    return panels(problem, schedule, source=source, epilogue=epilogue, registers=registers, once=context.once)
