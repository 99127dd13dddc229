"""Torch's own operators in place of our kernels: where they were measured to be faster, all counted."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import torch

from sparsegen.cost import Cost
from sparsegen.errors import OptionError
from sparsegen.graph import (
    FLOAT32,
    Conv2d,
    Core,
    Extern,
    Identity,
    Layer,
    LayerGraph,
    Linear,
    MatMul,
    Read,
    SeparableConv2d,
    Shape,
)
from sparsegen.kernels.implementation import Implementation, Offer
from sparsegen.kernels.operands import Value
from sparsegen.kernels.registry import (
    Context,
    Measured,
    best_offer,
    implementations_of,
    refusals,
    register,
)
from sparsegen.kernels.roofline import traffic
from sparsegen.kernels.space import KernelSchedule
from sparsegen.kernels.taps import TapConv2d
from sparsegen.lowering.kernel import Kernel

_log = logging.getLogger(__name__)
_MEASURED = "seconds by layer and implementation, as in {'conv1': {'torch': 0.001}}"


class TorchOwn(Implementation):
    """The operator that torch has for the layer's core: known by measurement alone, and on plain tensors."""

    name = "torch"
    kinds = ()

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """Layers that somebody measured."""
        measured = self.name in context.measured.get(layer.name, {})
        return None if measured else "nobody has measured torch's own operator"

    def offer(self, layer: Layer, context: Context) -> Offer:
        """What was measured, and the conversions of what it reads and gives."""
        seconds = context.measured[layer.name][self.name]
        read, written = traffic(layer, context)
        moved = sum(_moved_bytes(name, context) for name in (*layer.inputs, layer.name))
        conversions = moved / context.target.bandwidth(context.threads)
        return Offer(self, Cost(seconds + conversions, read, written, "measured"), format="torch")

    def build(self, layer: Layer, context: Context, schedule: KernelSchedule | None) -> Kernel:
        """Never asked for: `leave_to_torch` takes such layers out of those that get kernels."""
        raise AssertionError(f"layer {layer.name!r} is torch's: it has no kernel")


def leave_to_torch(graph: LayerGraph, placed: LayerGraph, context: Context) -> LayerGraph:
    """A frontend's graph, layers for which torch's own operator is the best offer computed by that.

    `placed` is the graph with its taps placed, which the context is of. Layers that the context gives
    schedules stay as they are. Each layer is looked at alone: two in a row count conversions between them.
    """
    lowered = {layer.name: layer for layer in placed.layers}
    shapes, layers = graph.shapes(), list[Layer]()
    for layer in graph.layers:
        twins = None
        if TorchOwn.name in context.measured.get(layer.name, {}) and layer.name not in context.schedules:
            twins = _twins(layer, shapes)
        if twins is None or any(name in graph.constants for name in layer.inputs):
            layers.append(layer)
            continue
        best = best_offer(lowered[layer.name], context)
        if best.implementation.name != TorchOwn.name:
            layers.append(layer)
            continue
        _log.info("layer %s is left to torch: %.3g ms", layer.name, best.cost.seconds * 1e3)
        layers += twins
    return replace(graph, layers=layers)


def torchs_layers(graph: LayerGraph) -> frozenset[str]:
    """The layers of a frontend's graph that `given_to_torch` takes."""
    shapes = graph.shapes()
    return frozenset(
        layer.name
        for layer in graph.layers
        if _twins(layer, shapes) is not None and not any(name in graph.constants for name in layer.inputs)
    )


def given_to_torch(graph: LayerGraph, names: Collection[str]) -> LayerGraph:
    """A frontend's graph with some of its layers, see `torchs_layers`, computed by torch's own operators.

    Raises OptionError for one that torch has no operator for.
    """
    strange = sorted({*names} - torchs_layers(graph))
    if strange:
        raise OptionError(f"torch has no operator for layer {', '.join(map(repr, strange))}")
    shapes, layers = graph.shapes(), list[Layer]()
    for layer in graph.layers:
        twins = _twins(layer, shapes) if layer.name in names else None
        layers += [layer] if twins is None else twins
    return replace(graph, layers=layers)


def _twins(layer: Layer, shapes: Mapping[str, Shape]) -> list[Layer] | None:
    """The layers of torch's operators that compute a layer, and its epilogue; None where torch has none."""
    name = f"{layer.name}#torch" if layer.epilogue else layer.name
    core = layer.core
    ops = torch.ops.aten
    match core:
        case Linear():
            made = [
                _extern(name, layer, ops.linear.default, Read(0), _tensor(core.weight), _tensor(core.bias))
            ]
        case Conv2d() if core.padding[0] == core.padding[1] and core.padding[2] == core.padding[3]:
            stated = list(core.stride), [core.padding[0], core.padding[2]], list(core.dilation), False, [0, 0]
            weights = _tensor(core.weight), _tensor(core.bias)
            made = [_extern(name, layer, ops.convolution.default, Read(0), *weights, *stated, core.groups)]
        case MatMul():
            made = _products(name, layer, core, shapes)
        case _:
            return None
    if layer.epilogue:
        made.append(replace(layer, core=Identity(), inputs=(name,)))
    return made


def _products(name: str, layer: Layer, core: MatMul, shapes: Mapping[str, Shape]) -> list[Layer]:
    """torch.matmul, of transposed inputs where the core transposes."""
    made: list[Layer] = []
    inputs = []
    for at, (source, transposed) in enumerate(
        zip(layer.inputs, (core.transpose_a, core.transpose_b), strict=True)
    ):
        if transposed:
            *outer, rows, columns = shapes[source]
            turned = replace(layer, inputs=(source,), shape=(*outer, columns, rows))
            made.append(_extern(f"{name}#{'ab'[at]}", turned, torch.ops.aten.transpose.int, Read(0), -2, -1))
        inputs.append(made[-1].name if transposed else source)
    product = replace(layer, inputs=tuple(inputs))
    return [*made, _extern(name, product, torch.ops.aten.matmul.default, Read(0), Read(1))]


def _extern(name: str, layer: Layer, overload: object, *arguments: object) -> Layer:
    core = Extern(overload, arguments, {}, FLOAT32, "torch's own operator was measured to be faster")
    return Layer(name, core, layer.inputs, layer.shape)


def _tensor(array: object) -> object:
    return None if array is None else torch.from_numpy(array)


def _moved_bytes(name: str, context: Context) -> int:
    """Bytes that a value's conversion between its layout and a plain tensor reads and writes."""
    operand = context.operands.get(name)
    if not isinstance(operand, Value):
        return 0
    return operand.layout.nbytes + operand.layout.itemsize * math.prod(operand.shape)


def without_torch(measured: Measured) -> Measured:
    """The times of kernels alone, for a graph whose layers have been left to torch where that pays."""
    return {
        layer: {name: seconds for name, seconds in times.items() if name != TorchOwn.name}
        for layer, times in measured.items()
    }


def unserved(measured: Measured, graph: LayerGraph, placed: LayerGraph, context: Context) -> dict[str, str]:
    """Why implementations that somebody gave times for do not compute a layer, by layer: a phrase each.

    `graph` is the frontend's, `placed` the one whose layers get kernels, and `context` knows of.
    """
    reasons = {}
    torchs = torchs_layers(graph)
    for layer in placed.layers:
        names = measured.get(layer.name, {})
        refused = refusals(layer, context) if names else {}
        if layer.name not in torchs:
            refused |= {TorchOwn.name: "torch has no operator for it"}
        told = [
            f"{name} was measured and cannot compute it: {refused[name]}" for name in names if name in refused
        ]
        if told:
            reasons[layer.name] = "; ".join(told)
            _log.warning("layer %s: %s", layer.name, reasons[layer.name])
    return reasons


def check_measured(measured: Measured, graph: LayerGraph) -> None:
    """Raises OptionError for times of layers or implementations that are not there, and for no times."""
    if not isinstance(measured, Mapping):
        raise OptionError(f"measured is a {type(measured).__name__}: give {_MEASURED}")
    cores = {layer.name: layer.core for layer in graph.layers}
    for layer, times in measured.items():
        if layer not in cores:
            raise OptionError(f"times are given for {layer!r}: no layer is called so")
        if not isinstance(times, Mapping):
            raise OptionError(f"layer {layer!r}: the times are {times!r}: give {_MEASURED}")
        names = _names(cores[layer])
        for name, seconds in times.items():
            if name not in names:
                what, known = type(cores[layer]).__name__, ", ".join(names) or "none"
                raise OptionError(
                    f"layer {layer!r}: there is no implementation {name!r} of {what}; there are {known}"
                )
            if (
                isinstance(seconds, bool)
                or not isinstance(seconds, int | float)
                or not 0 < seconds < math.inf
            ):
                raise OptionError(
                    f"layer {layer!r}: {name} takes {seconds!r} seconds; a number above 0 is needed"
                )


def _names(core: Core) -> list[str]:
    """The implementations of a frontend's core, and of what it may become."""
    lowered = (TapConv2d, SeparableConv2d) if isinstance(core, Conv2d) else (type(core),)
    return sorted({each.name for kind in lowered for each in implementations_of(kind)})


for _core in (TapConv2d, Linear, MatMul):
    register(_core, TorchOwn())
