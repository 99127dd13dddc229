"""Convolutions and linear layers for the panel kernels; grouped ones for the grouped kernel."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from sparsegen.graph import Layer, Linear
from sparsegen.kernels.grouped import grouped_conv
from sparsegen.kernels.grouped_schedule import grouped_space
from sparsegen.kernels.linear import plain_linear
from sparsegen.kernels.linear_space import linear_space
from sparsegen.kernels.panels import PanelChoice, PanelProblem, PanelSchedule, choose, panel_fault, panels
from sparsegen.kernels.panels.space import panel_space
from sparsegen.kernels.registry import Context, kernel_for, space_for
from sparsegen.kernels.space import Space
from sparsegen.kernels.taps import TapConv2d
from sparsegen.kernels.winograd import WinogradProblem, WinogradSchedule, winograd
from sparsegen.kernels.winograd.choice import WinogradChoice, winograd_fault, winograd_space
from sparsegen.kernels.winograd.choice import choose as choose_winograd
from sparsegen.lowering.kernel import Kernel


@kernel_for(TapConv2d, "panels", "winograd", "grouped_conv")
def convolution(layer: Layer, context: Context) -> Kernel:
    """The kernel of a convolution with any stride, padding, dilation and groups."""
    problem = panel_problem(layer, context)
    if problem is None:
        return grouped_conv(layer, context)
    of_tiles = _winograd_problem(layer, context)
    knobs: PanelSchedule | WinogradSchedule | None = context.given(
        layer, PanelSchedule, partial(panel_fault, problem)
    ) or context.given(layer, WinogradSchedule, partial(winograd_fault, of_tiles))
    if knobs is None:
        knobs = _fastest(layer, problem, context).schedule
    epilogue, source = context.epilogue(layer), layer.inputs[0]
    if isinstance(knobs, PanelSchedule):
        registers = context.target.registers
        return panels(
            problem, knobs, source=source, epilogue=epilogue, registers=registers, once=context.once
        )
    assert of_tiles is not None
    return winograd(of_tiles, knobs, source=source, epilogue=epilogue, once=context.once)


@kernel_for(Linear, "panels", "linear")
def linear(layer: Layer, context: Context) -> Kernel:
    """The kernel of a linear layer: panels with batch lanes, rows of weights without."""
    problem = panel_problem(layer, context)
    if problem is None:
        return plain_linear(layer, context)
    knobs = context.given(layer, PanelSchedule, partial(panel_fault, problem))
    if knobs is None:
        knobs = choose_panels(problem, context).schedule
    epilogue, registers = context.epilogue(layer), context.target.registers
    return panels(
        problem, knobs, source=layer.inputs[0], epilogue=epilogue, registers=registers, once=context.once
    )


@space_for(TapConv2d)
@space_for(Linear)
def weighted_space(layer: Layer, context: Context) -> Space:
    """The schedules of the kernel of a convolution or linear layer."""
    problem = panel_problem(layer, context)
    if problem is None:
        return (linear_space if isinstance(layer.core, Linear) else grouped_space)(layer, context)
    chosen = _fastest(layer, problem, context)
    if isinstance(chosen, WinogradChoice):
        return winograd_space(chosen, context.target, threads=context.threads)
    return panel_space(problem, context.target, threads=context.threads, dense=context.dense, choice=chosen)


def panel_problem(layer: Layer, context: Context) -> PanelProblem | None:
    """The layer as the panel kernels see it; None for a layer that they do not serve."""
    match layer.core:
        case TapConv2d(groups=1):
            return _conv_problem(layer, context)
        case Linear() if context.layout(layer.name).batch_lanes:
            return _linear_problem(layer, context)
        case _:
            return None


def winograd_choice(layer: Layer, context: Context) -> WinogradChoice | None:
    """What Winograd's kernel would cost a layer; None for a layer that it does not serve, or may not."""
    tiles = _winograd_problem(layer, context)
    if tiles is None:
        return None
    choice = context.once(
        tiles.geometry, partial(choose_winograd, tiles, context.target, threads=context.threads)
    )
    return None if choice is None else replace(choice, problem=tiles)


def _winograd_problem(layer: Layer, context: Context) -> WinogradProblem | None:
    if not context.winograd or not isinstance(layer.core, TapConv2d):
        return None
    return WinogradProblem.of(layer.core, context.layout(layer.inputs[0]), context.layout(layer.name))


def _fastest(layer: Layer, problem: PanelProblem, context: Context) -> PanelChoice | WinogradChoice:
    """The choice of the kernel with the least estimated cycles."""
    panel, tiles = choose_panels(problem, context), winograd_choice(layer, context)
    return tiles if tiles is not None and tiles.beats(panel.cycles) else panel


def choose_panels(problem: PanelProblem, context: Context) -> PanelChoice:
    """The schedule of a problem in a model's context."""
    return context.once(
        problem.identity(dense=context.dense),
        partial(choose, problem, context.target, threads=context.threads, dense=context.dense),
    )


def _conv_problem(layer: Layer, context: Context) -> PanelProblem:
    """A convolution without groups."""
    conv = layer.core
    assert isinstance(conv, TapConv2d)
    source, out = context.layout(layer.inputs[0]), context.layout(layer.name)
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


def _linear_problem(layer: Layer, context: Context) -> PanelProblem:
    """A linear layer with batch lanes."""
    core, out = layer.core, context.layout(layer.name)
    assert isinstance(core, Linear)
    source = context.layout(layer.inputs[0])
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
