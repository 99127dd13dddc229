"""Before kernels: where lanes run, which convolutions read phases, and every value's layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import networkx

from sparsegen.graph import (
    Concat,
    Conv2d,
    Gather,
    Layer,
    LayerGraph,
    LayerNorm,
    Linear,
    LogSoftmax,
    MatMul,
    Mean,
    Pad,
    Permute,
    PlainCore,
    Recurrent,
    Reduce,
    Reshape,
    Shape,
    Slice,
    Softmax,
)
from sparsegen.kernels.conversions import plain_values, sources
from sparsegen.kernels.operands import Constant, Operand, Value
from sparsegen.kernels.panels import TILE_LIMIT
from sparsegen.kernels.taps import TapConv2d, direct_taps, phase_taps, taps_of
from sparsegen.lowering.layout import Halo, Layout, plan_layout
from sparsegen.target import Target

_FILLED = 0.75  # share of the lanes that a batch, or a row, has to fill for lanes along it to pay


def use_batch_lanes(graph: LayerGraph, target: Target) -> bool:
    """Whether lanes hold images: the batch fills them, and no operator looks across the batch.

    Products of values whose rows fill the lanes keep images apart too: there a lane's image would take
    as much of the caches as all lanes together take otherwise, and both operands would be loads.
    """
    shapes = graph.shapes()
    batches = {shape[:1] for shape in sources(graph).values()}
    if len(batches) != 1 or () in batches:
        return False
    (batch,) = next(iter(batches))
    if not _fills(batch, target.lanes) or any(
        isinstance(layer.core, MatMul) and _fills(layer.shape[-1], target.lanes) for layer in graph.layers
    ):
        return False
    ours = (layer for layer in graph.layers if not isinstance(layer.core, PlainCore))
    return all(_keeps_batch(layer, graph, shapes, batch) for layer in ours)


def _fills(extent: int, lanes: int) -> bool:
    """Whether vectors over so many elements have few empty lanes."""
    return extent / (-(-extent // lanes) * lanes) >= _FILLED


def _keeps_batch(layer: Layer, graph: LayerGraph, shapes: dict[str, Shape], batch: int) -> bool:
    """Whether images of a batch do not meet in the layer: dimension 0 is the batch, before and after."""
    rank = len(layer.shape)
    if layer.shape[:1] != (batch,):
        return False
    for name in layer.reads():
        shape = shapes[name]
        if name in graph.constants:
            if len(shape) == rank and shape[0] != 1:
                return False
        elif shape[:1] != (batch,) or (name not in layer.inputs and len(shape) != rank):
            return False
    match layer.core:
        case Mean(dims=dims) | Reduce(dims=dims) | LayerNorm(dims=dims):
            return 0 not in dims
        case Softmax(dim=dim) | LogSoftmax(dim=dim) | Concat(dim=dim) | Slice(dim=dim) | Gather(dim=dim):
            return dim != 0
        case Permute(dims=dims):
            return dims[0] == 0
        case Pad(amounts=amounts):
            return amounts[0] == (0, 0)
        case Linear():
            return rank <= 4
        case Reshape():
            return len(shapes[layer.inputs[0]]) > 0
        case Recurrent():  # its kernel's vectors lie along features
            return False
        case MatMul() if rank < 3:  # the batch is a dimension of the matrices
            return False
        case _:
            return all(len(shapes[name]) == rank for name in layer.inputs if name not in graph.constants)


def place_taps(graph: LayerGraph, *, batch_lanes: bool) -> LayerGraph:
    """Convolutions with their taps; with pixel lanes, strided ones on phases of their input.

    With pixel lanes rows of input and output are equally long (see `plan_operands`): without a stride their
    pixels lie equally far apart, and a convolution reads its input directly.
    """
    shapes, layers = graph.shapes(), list[Layer]()
    for layer in graph.layers:
        conv = layer.core
        if not isinstance(conv, Conv2d):
            layers.append(layer)
            continue
        if batch_lanes or conv.stride == (1, 1):
            core = TapConv2d(conv.weight, conv.bias, conv.groups, direct_taps(conv))
            layers.append(replace(layer, core=core))
            continue
        split, taps = phase_taps(conv)
        phases = Layer(f"{layer.name}#phases", split, layer.inputs, split.shape(shapes[layer.inputs[0]]))
        core = TapConv2d(conv.weight, conv.bias, conv.groups, taps)
        layers += [phases, replace(layer, core=core, inputs=(phases.name,))]
    return replace(graph, layers=layers)


def plan_operands(graph: LayerGraph, *, lanes: int, batch_lanes: bool) -> dict[str, Operand]:
    """Every value in its layout, every constant, by name. The graph has its taps placed.

    Plain values have no layout, and are left out.

    Images of one height and width get the same halo, the widest that one of them needs, so that
    layers of one shape are one kernel, compiled once.
    """
    plain, by_size = plain_values(graph), dict[Shape, Halo]()
    shapes = {name: shape for name, shape in graph.shapes().items() if name not in plain}
    for layer in graph.layers:
        taps = taps_of(layer)
        if taps is not None:
            size = shapes[layer.inputs[0]][2:]
            # The last tile may stand over the image's end by all of its vectors but one.
            across = taps.stride[1] if batch_lanes else lanes
            past = Halo(rows_past=TILE_LIMIT * taps.stride[0], pixels_past=TILE_LIMIT * across)
            halo = taps.halo(shapes[layer.inputs[0]], layer.shape).union(past)
            by_size[size] = by_size.get(size, Halo()).union(halo)
        elif isinstance(layer.core, MatMul) and len(layer.shape) == 4 and not batch_lanes:
            # Rows of whole vectors: a product stores no others, and reads them of its second matrix.
            size, halo = layer.shape[2:], Halo(right=-layer.shape[3] % lanes)
            by_size[size] = by_size.get(size, Halo()).union(halo)
    halos = {name: by_size[shape[2:]] for name, shape in shapes.items() if shape[2:] in by_size}
    if not batch_lanes:
        halos = _equal_rows(graph, shapes, halos)
    operands: dict[str, Operand] = {name: Constant(name, array) for name, array in graph.constants.items()}
    for name, shape in shapes.items():
        if name not in operands:
            layout = plan_layout(shape, lanes=lanes, batch_lanes=batch_lanes, halo=halos.get(name))
            operands[name] = Value(name, layout)
    return operands


def padded_values(graph: LayerGraph, layouts: Mapping[str, Layout]) -> set[str]:
    """The values whose halo some layer reads, which has to be zero. The graph has its taps placed.

    With pixel lanes every value's may be: vectors run over it. With batch lanes pointwise convolutions
    without padding read it for pixels past the image alone, whose results go nowhere.
    """
    shapes, padded = graph.shapes(), {name for name, layout in layouts.items() if not layout.batch_lanes}
    for layer in graph.layers:
        taps = taps_of(layer)
        if taps is None:
            continue
        pointwise = len(taps.channel) == taps.group_channels
        if not pointwise or taps.halo(shapes[layer.inputs[0]], layer.shape) != Halo():
            padded.add(layer.inputs[0])
    return padded


def _equal_rows(graph: LayerGraph, shapes: dict[str, Shape], halos: dict[str, Halo]) -> dict[str, Halo]:
    """Halos widened so that images that a vector of pixels crosses together have rows of one length.

    With pixel lanes a convolution's input and output, and the operands of its epilogue, are read
    and written at one distance; all images of one width get the widest halo that one of them needs.
    """
    images = {
        name: shape for name, shape in shapes.items() if len(shape) == 4 and name not in graph.constants
    }
    alike: networkx.Graph[int] = networkx.Graph()
    alike.add_nodes_from(shape[3] for shape in images.values())
    for layer in graph.layers:
        if isinstance(layer.core, TapConv2d):  # the input may be wider than the output over it
            alike.add_edge(shapes[layer.inputs[0]][3], layer.shape[3])
    rows: dict[int, int] = {}
    for widths in networkx.connected_components(alike):
        members = [name for name, shape in images.items() if shape[3] in widths]
        sides = {name: max(halos[name].left, halos[name].right) if name in halos else 0 for name in members}
        rows.update(dict.fromkeys(widths, max(images[name][3] + sides[name] for name in members)))
    return {
        name: halos.get(name, Halo()).union(Halo(right=rows[shape[3]] - shape[3]))
        for name, shape in images.items()
    }
