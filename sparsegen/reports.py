"""What became of each layer: the reports of a compiled model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from sparsegen.graph import (
    Conv2d,
    Extern,
    Layer,
    LayerGraph,
    Linear,
    Recurrent,
    Result,
    SeparableConv2d,
    Shape,
    apart,
    approximated_steps,
)
from sparsegen.kernels import Kernel
from sparsegen.kernels.conversions import OUTPUT, Convert
from sparsegen.kernels.taps import TapConv2d
from sparsegen.lowering.extern import constants
from sparsegen.runtime.program import LayerReport


def reports(
    graph: LayerGraph, kernels: Mapping[str, Kernel], sources: Mapping[str, str], unserved: Mapping[str, str]
) -> Iterator[LayerReport]:
    """One report a layer of a graph with its conversions placed.

    `sources` tell where schedules come from, `unserved` why what was measured of a layer is not taken.

    The conversions of the graph's inputs and outputs are left out: they are no layers of the model.
    """
    shapes = graph.shapes()
    for layer in graph.layers:
        input_shapes = tuple(shapes[name] for name in layer.inputs)
        if isinstance(layer.core, Extern):
            yield _of_torch(layer, layer.core, input_shapes)
        elif not isinstance(layer.core, Result) and not _is_at_edge(layer, graph):
            source = sources.get(layer.name, "default")
            reason = unserved.get(layer.name, "")
            yield from _of_kernel(layer, kernels[layer.name], input_shapes, source, reason)


def _is_at_edge(layer: Layer, graph: LayerGraph) -> bool:
    """Whether a layer converts an input or, for nothing else, an output."""
    if not isinstance(layer.core, Convert):
        return False
    return layer.inputs[0] in graph.inputs or layer.name.startswith(OUTPUT) or layer.core.to == "buffer"


def _of_torch(layer: Layer, core: Extern, input_shapes: tuple[Shape, ...]) -> LayerReport:
    return LayerReport(
        name=layer.name,
        kernel="torch",
        input_shapes=input_shapes,
        output_shape=layer.shape,
        weight_shape=None,
        density=1.0,
        format="dense",
        weight_bytes=sum(each.nbytes for each in constants(layer)),
        operator=str(core.overload),
        reason=core.reason,
    )


def _of_kernel(
    layer: Layer, kernel: Kernel, input_shapes: tuple[Shape, ...], source: str, reason: str
) -> Iterator[LayerReport]:
    """The layer's report; before it that of the convolution which its kernel computes too."""
    core = layer.core
    if isinstance(core, SeparableConv2d):
        (depthwise, _), conv, core = apart(layer), core.depthwise, core.pointwise
        yield LayerReport(
            name=depthwise.name,
            kernel="fused",
            input_shapes=input_shapes,
            output_shape=depthwise.shape,
            weight_shape=conv.weight.shape,
            density=float(np.count_nonzero(conv.weight)) / conv.weight.size,
            format="dense",
            weight_bytes=conv.weight.nbytes,
            approximated=approximated_steps(depthwise),
        )
        input_shapes = (depthwise.shape,)
    yield LayerReport(
        name=layer.name,
        kernel=kernel.kind,
        input_shapes=input_shapes,
        output_shape=layer.shape,
        weight_shape=core.weight.shape if isinstance(core, (TapConv2d, Conv2d, Linear, Recurrent)) else None,
        density=kernel.density,
        format=kernel.format,
        weight_bytes=kernel.weight_bytes,
        schedule=kernel.schedule,
        schedule_source=source if kernel.schedule else "",
        reason=reason,
        approximated=approximated_steps(layer),
    )
