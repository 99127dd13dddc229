"""Where values are laid out for kernels, and where they are made plain again, for torch and for the caller.

A graph's inputs are plain, and so is what torch computes. All other values lie in the layouts of kernels. A
value that both read has a twin: `Convert` makes it, once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sparsegen.graph import FLOAT32, Layer, LayerGraph, LoweredCore, PlainCore, Shape
from sparsegen.kernels.convert import copy_buffer, enter, leave
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.kernel import Kernel

OUTPUT = "output "
"""What the names of the conversions of outputs begin with."""
BUFFER = "#buffer"
"""What the names of copies of buffers end with."""


@dataclass(frozen=True)
class Convert(LoweredCore):
    """The input, plain and row-major, in the lanes of a layout, or the other way round.

    Or else the "buffer" that the laid-out input is in, halo and all, as a tensor [groups, size]: for another
    part of the graph, where it is that input again.
    """

    to: Literal["lanes", "plain", "buffer"]


@kernel_for(Convert, "enter", "leave", "copy")
def convert(layer: Layer, context: Context) -> Kernel:
    """The kernel that moves every element."""
    assert isinstance(layer.core, Convert)
    (source,) = layer.inputs
    if layer.core.to == "lanes":
        return enter(source, context.layout(layer.name))
    value = context.value(source)
    return leave(value) if layer.core.to == "plain" else copy_buffer(value)


def is_plain(layer: Layer) -> bool:
    """Whether the layer's value is a plain tensor."""
    return isinstance(layer.core, PlainCore) or layer.core == Convert("plain")


def plain_values(graph: LayerGraph) -> set[str]:
    """The values that are plain tensors: inputs that no kernel reads, and what layers make plain."""
    laid_out = {
        name
        for layer in graph.layers
        if not isinstance(layer.core, PlainCore) and layer.core != Convert("lanes")
        for name in layer.reads()
    }
    return {name for name in graph.inputs if name not in laid_out} | {
        layer.name for layer in graph.layers if is_plain(layer)
    }


def sources(graph: LayerGraph) -> dict[str, Shape]:
    """Shapes of the float32 values that kernels get from outside: inputs, and results of torch's operators.

    An input that nothing reads counts as one, too, and so does one that is an output: a kernel copies it. The
    graph is the frontend's.
    """
    by_kernels, by_torch = set[str](), set[str]()
    for layer in graph.layers:
        (by_torch if isinstance(layer.core, PlainCore) else by_kernels).update(layer.reads())
    torch_alone = by_torch - by_kernels - {*graph.outputs}
    inputs = {
        name: shape
        for name, shape in graph.inputs.items()
        if graph.input_dtype(name) == FLOAT32 and name not in torch_alone
    }
    results = {
        layer.name: layer.shape
        for layer in graph.layers
        if isinstance(layer.core, PlainCore) and layer.dtype == FLOAT32 and layer.name in by_kernels
    }
    return {**inputs, **results}


def place_conversions(graph: LayerGraph) -> LayerGraph:
    """The graph with a `Convert` wherever a value is read in the other form; taps are placed.

    Laid-out values and inputs keep their names, so that kernels are the same whatever is around them: a
    plain input that kernels read is called `x#plain`, as is the plain twin of a laid-out value; the laid-out
    twin of a result of torch's is `x#lanes`. Outputs are plain: `output 0` where that takes a conversion.
    """
    placing, shapes = _Placing(graph), graph.shapes()
    for layer in graph.layers:
        placing.add(layer)
    outputs = tuple(placing.output(i, name, shapes[name]) for i, name in enumerate(graph.outputs))
    return replace(
        graph,
        inputs=placing.inputs,
        input_dtypes=placing.input_dtypes,
        layers=placing.layers,
        outputs=outputs,
    )


class _Placing:
    """The new graph under construction; `plain` and `lanes` name the forms of the old one's values."""

    def __init__(self, graph: LayerGraph) -> None:
        self.layers: list[Layer] = []
        self.inputs: dict[str, Shape] = {}
        self.input_dtypes: dict[str, str] = {}
        self.plain: dict[str, str] = {}
        self.lanes = {name: name for name in graph.constants}
        self.given = graph.inputs
        self.read = {*graph.outputs, *(name for layer in graph.layers for name in layer.reads())}
        self.sources = sources(graph)
        self.read_by_torch = {
            name for layer in graph.layers if isinstance(layer.core, PlainCore) for name in layer.reads()
        }
        for name, shape in graph.inputs.items():
            self._add_input(name, shape, graph.input_dtypes.get(name))

    def _add_input(self, name: str, shape: Shape, dtype: str | None) -> None:
        by_kernels = name in self.sources and name in self.read
        plain = self.plain[name] = f"{name}#plain" if by_kernels else name
        self.inputs[plain] = shape
        if dtype is not None:
            self.input_dtypes[plain] = dtype
        if by_kernels:
            self.lanes[name] = self._convert(name, "lanes", plain, shape)

    def add(self, layer: Layer) -> None:
        """Take over a layer; right after it comes its value's other form, where that is read."""
        name = layer.name
        if isinstance(layer.core, PlainCore):
            self.layers.append(layer.renamed(self.plain))
            self.plain[name] = name
            if name in self.sources:
                self.lanes[name] = self._convert(f"{name}#lanes", "lanes", name, layer.shape)
            return
        self.layers.append(layer.renamed(self.lanes))
        self.lanes[name] = name
        if name in self.read_by_torch:
            self.plain[name] = self._convert(f"{name}#plain", "plain", name, layer.shape)

    def output(self, index: int, name: str, shape: Shape) -> str:
        """An output's plain form; never an input itself, which is the caller's."""
        if name in self.plain and name not in self.given:
            return self.plain[name]
        return self._convert(f"{OUTPUT}{index}", "plain", self.lanes[name], shape)

    def _convert(self, name: str, to: Literal["lanes", "plain"], source: str, shape: Shape) -> str:
        self.layers.append(Layer(name, Convert(to), (source,), shape))
        return name
