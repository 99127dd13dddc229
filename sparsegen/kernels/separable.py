"""Depthwise convolutions computed where a pointwise one reads them: what lies between never goes to memory.

A depthwise convolution does little with much memory. With batch lanes a panel kernel can compute its input, a
tile of a column block at a time, which then comes from the cache.

Best for: images that the caches do not hold, and few chunks of panels, each of which computes the depthwise
convolution again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from sparsegen.graph import Conv2d, Layer, LayerGraph, SeparableConv2d
from sparsegen.kernels.implementation import Implementation, Offer
from sparsegen.kernels.panels import Depthwise, PanelProblem, PanelSchedule
from sparsegen.kernels.panels.legality import panel_fault
from sparsegen.kernels.panels.space import panel_space
from sparsegen.kernels.problems import choose_panels, panel_kernel, panel_offer
from sparsegen.kernels.registry import Context, best_offer, offers, register
from sparsegen.kernels.space import KernelSchedule, Space
from sparsegen.kernels.taps import direct_taps
from sparsegen.lowering.kernel import Kernel

_SURE = 0.97  # of the cycles apart: above, the estimates are not sure enough


class Separable(Implementation):
    """Panels that compute their input, a depthwise convolution's; with batch lanes alone."""

    name = "separable"
    kinds = ("separable",)

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """Images whose lanes are those of a batch."""
        return None if context.layout(layer.name).batch_lanes else "its lanes hold no images"

    def takes(self, schedule: KernelSchedule, layer: Layer, context: Context) -> bool:
        """Schedules of panels."""
        return isinstance(schedule, PanelSchedule)

    def fault(self, schedule: KernelSchedule, layer: Layer, context: Context) -> str | None:
        """As of panels."""
        assert isinstance(schedule, PanelSchedule)
        return panel_fault(separable_problem(layer, context), schedule)

    def offer(self, layer: Layer, context: Context) -> Offer:
        """The panels of the least estimated cycles, dense ones too."""
        choice = choose_panels(separable_problem(layer, context), context)
        return panel_offer(self, layer, context, choice.schedule, choice.cycles)

    def space(self, layer: Layer, context: Context) -> Space | None:
        """The schedules of panels."""
        problem = separable_problem(layer, context)
        space = panel_space(problem, context.target, threads=context.threads, dense=context.dense)
        return replace(space, kernel="separable")

    def build(self, layer: Layer, context: Context, schedule: KernelSchedule | None) -> Kernel:
        """The kernel of a pointwise convolution that computes its input."""
        assert isinstance(schedule, PanelSchedule)
        return panel_kernel(separable_problem(layer, context), layer, context, schedule)


register(SeparableConv2d, Separable())


def separable_problem(layer: Layer, context: Context) -> PanelProblem:
    """The layer as the panel kernels see it."""
    core = layer.core
    assert isinstance(core, SeparableConv2d)
    source, out = context.layout(layer.inputs[0]), context.layout(layer.name)
    conv, pointwise, taps = core.depthwise, core.pointwise, direct_taps(core.depthwise)
    channels = len(conv.weight)
    return PanelProblem(
        matrix=pointwise.weight.reshape(len(pointwise.weight), -1),
        bias=pointwise.bias,
        columns_per_channel=1,
        offsets=(source.base + np.arange(channels) * source.plane).astype(np.int32),
        pixels=out.pixel_vectors,
        pixel_steps=source.pixel_steps(taps.stride),
        source=source,
        out=out,
        depthwise=Depthwise(
            matrix=conv.weight.reshape(channels, -1),
            bias=np.zeros(channels, np.float32) if conv.bias is None else conv.bias,
            steps=core.steps,
            offsets=taps.offsets(source),
        ),
    )


def fuse_separable(graph: LayerGraph, placed: LayerGraph, context: Context) -> LayerGraph:
    """A frontend's graph, its depthwise and pointwise convolutions one layer where that is estimated faster.

    The layer bears the pointwise one's name. `placed` is the graph with its taps placed, which the context
    is of. Layers that the context gives schedules stay as they are.
    """
    readers = Counter(name for layer in graph.layers for name in layer.reads())
    readers.update(graph.outputs)
    lowered = {layer.name: layer for layer in placed.layers}
    layers, given = dict[str, Layer](), set(context.schedules)
    for layer in graph.layers:
        before = layers.get(layer.inputs[0]) if layer.inputs else None
        if before is not None and readers[before.name] == 1 and not given & {before.name, layer.name}:
            fused = _fused(before, layer)
            if fused is not None and _pays(fused, lowered[before.name], lowered[layer.name], context):
                del layers[before.name]
                layer = fused
        layers[layer.name] = layer
    return replace(graph, layers=list(layers.values()))


def _fused(before: Layer, layer: Layer) -> Layer | None:
    """The two layers as one; None where they are no depthwise and pointwise convolution."""
    depthwise, pointwise = before.core, layer.core
    if not (isinstance(depthwise, Conv2d) and isinstance(pointwise, Conv2d)):
        return None
    if any(isinstance(step.operand, str) for step in before.epilogue) or pointwise.groups != 1:
        return None
    if not 1 < depthwise.groups == len(depthwise.weight) == before.shape[1] or depthwise.weight.shape[1] != 1:
        return None
    if pointwise.weight.shape[2:] != (1, 1) or pointwise.stride != (1, 1) or any(pointwise.padding):
        return None
    core = SeparableConv2d(depthwise, before.epilogue, pointwise, before.name)
    return replace(layer, core=core, inputs=before.inputs)


def _pays(fused: Layer, depthwise: Layer, pointwise: Layer, context: Context) -> bool:
    """Whether something computes the fused layer, and is estimated faster than the two."""
    together = offers(fused, context)
    if not together:
        return False
    apart = sum(best_offer(layer, context).cost.seconds for layer in (depthwise, pointwise))
    return min(offer.cost.seconds for offer in together) < _SURE * apart
