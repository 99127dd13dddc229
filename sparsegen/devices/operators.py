"""What a device needs to know of an operator: its name, its kind, its work. In elements, as types differ."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparsegen.graph import (
    AdaptivePool2d,
    Concat,
    Conv2d,
    Extern,
    Gather,
    GroupNorm,
    Identity,
    Interpolation,
    Layer,
    LayerGraph,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    MatMul,
    Mean,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Pool2d,
    Recurrent,
    Reduce,
    Resample2d,
    Reshape,
    Result,
    SeparableConv2d,
    Shape,
    Slice,
    Softmax,
    Step,
    adaptive_windows,
    apart,
)
from sparsegen.typed import typed

KINDS = (
    *("conv", "depthwise", "grouped", "linear", "matmul", "lstm", "gru"),
    *("pool", "reduce", "softmax", "norm", "pointwise", "concat", "move", "resize", "view", "other"),
)
"""Kinds that rates are given for. A `view` costs nothing; `other` stands for all that have no rate."""


@dataclass(frozen=True)
class Operator:
    """An operator as the cost of a device sees it.

    name: as limits list it ("max_pool"); kind: one of `KINDS`. read, written, weights: elements of its
    inputs, its result and its weights, each once. steps: the pointwise steps of its epilogue, by graph's
    names. shapes: of inputs and result. kernel, stride, dilation: down and across, of convolutions and
    pooling; a single window has stride 1; an adaptive pool's kernel is its largest window, and its windows
    may not be equal. padding: top, bottom, left, right. groups: of a convolution. step: a slice's; extents:
    of the dimensions of a softmax. constant_weights: false for a product of two values.
    """

    name: str
    kind: str
    multiply_adds: int
    read: int
    written: int
    weights: int = 0
    steps: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = ()
    dilation: tuple[int, int] = (1, 1)
    step: int = 1
    extents: tuple[int, ...] = ()
    constant_weights: bool = True
    reverse: bool = False
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    equal_windows: bool = True

    def as_dict(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON holds it."""
        plain = Operator(self.name, self.kind, 0, 0, 0)
        return {key: value for key, value in asdict(self).items() if value != getattr(plain, key)} | {
            "name": self.name,
            "kind": self.kind,
            "multiply_adds": self.multiply_adds,
            "read": self.read,
            "written": self.written,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Operator:
        """The operator that `as_dict` wrote, after JSON made lists of its tuples."""
        return cls(**{key: _tuples(value) for key, value in record.items()})


@typed
def describe_graph(graph: LayerGraph) -> dict[str, Operator]:
    """Every layer of a graph as an operator, by the layers' names."""
    shapes = graph.shapes()
    return {layer.name: described(layer, shapes, graph.constants.keys()) for layer in graph.layers}


@typed
def describe(layer: Layer, shapes: Mapping[str, Shape], constants: Collection[str] = ()) -> Operator:
    """A layer as an operator; `shapes` are those of values and constants by name, as of `LayerGraph.shapes`.

    `constants` are the names that are constants of the graph: a device holds them as weights.
    """
    return described(layer, shapes, constants)


def described(layer: Layer, shapes: Mapping[str, Shape], constants: Collection[str] = ()) -> Operator:
    """As `describe`, of arguments that are known to be right: searches ask for many thousands."""
    if isinstance(layer.core, SeparableConv2d):
        return _both(*apart(layer), shapes)
    read = dict.fromkeys(layer.reads())
    values = [name for name in read if name not in constants]
    name, kind = _named(layer)
    return Operator(
        name=name,
        kind=kind,
        multiply_adds=_multiply_adds(layer, shapes),
        read=sum(math.prod(shapes.get(each, ())) for each in values),
        written=math.prod(layer.shape),
        weights=_weights(layer) + sum(math.prod(shapes[each]) for each in read if each in constants),
        steps=tuple(map(_step_name, layer.epilogue)),
        shapes=(*(shapes[each] for each in layer.inputs if each in shapes), layer.shape),
        constant_weights=not (
            isinstance(layer.core, MatMul) and all(each in values for each in layer.inputs)
        ),
        **_attributes(layer, shapes),
    )


def _both(depthwise: Layer, pointwise: Layer, shapes: Mapping[str, Shape]) -> Operator:
    """A fused pair of convolutions: what is between them is never written."""
    known = {**shapes, depthwise.name: depthwise.shape}
    first, second = described(depthwise, known), described(pointwise, known)
    return Operator(
        name="separable_conv",
        kind="conv",
        multiply_adds=first.multiply_adds + second.multiply_adds,
        read=first.read + second.read - first.written,
        written=second.written,
        weights=first.weights + second.weights,
        steps=first.steps + second.steps,
        shapes=(*first.shapes[:1], second.shapes[-1]),
        dilation=first.dilation,
        kernel=first.kernel,
        stride=first.stride,
        padding=first.padding,
        groups=first.groups,
    )


_PLAIN: dict[type, tuple[str, str]] = {
    Concat: ("concat", "concat"),
    Extern: ("torch", "other"),
    Gather: ("gather", "move"),
    GroupNorm: ("group_norm", "norm"),
    Identity: ("pointwise", "pointwise"),
    LayerNorm: ("layer_norm", "norm"),
    Linear: ("linear", "linear"),
    LocalResponseNorm: ("local_response_norm", "norm"),
    LogSoftmax: ("log_softmax", "softmax"),
    MatMul: ("matmul", "matmul"),
    Mean: ("mean", "reduce"),
    Pad: ("pad", "move"),
    Permute: ("transpose", "move"),
    PixelShuffle: ("pixel_shuffle", "move"),
    PixelUnshuffle: ("space_to_depth", "move"),
    Reshape: ("reshape", "view"),
    Result: ("result", "view"),
    Slice: ("slice", "move"),
    Softmax: ("softmax", "softmax"),
}
"""Name and kind of the cores that have one of each."""


def _named(layer: Layer) -> tuple[str, str]:
    match layer.core:
        case Conv2d(groups=1):
            return "conv", "conv"
        case Conv2d(groups=groups, weight=weight):
            depthwise = weight.shape[1] == 1 and groups == len(weight)
            return ("depthwise_conv", "depthwise") if depthwise else ("grouped_conv", "grouped")
        case Pool2d(kind=kind) | AdaptivePool2d(kind=kind):
            return f"{kind}_pool", "pool"
        case Reduce(kind=kind):
            return f"reduce_{kind}", "reduce"
        case Recurrent(kind=kind):
            return kind, kind
        case Resample2d(rows=rows, columns=columns):
            return _resizing(rows, columns), "resize"
        case Extern(overload=overload):
            return str(overload), "other"
        case core:
            return _PLAIN.get(type(core), (type(core).__name__.lower(), "other"))


def _resizing(*axes: Interpolation) -> str:
    if all(axis.copies for axis in axes):
        return "resize_nearest"
    taps = max(axis.reads.shape[1] for axis in axes)
    return "resize_bilinear" if taps <= 2 else "resize_bicubic"


def _multiply_adds(layer: Layer, shapes: Mapping[str, Shape]) -> int:
    out = math.prod(layer.shape)
    match layer.core:
        case Conv2d(weight=weight):
            return out * math.prod(map(int, weight.shape[1:]))
        case Linear(weight=weight):
            return out * int(weight.shape[1])
        case MatMul(transpose_a=transposed):
            return out * int(shapes[layer.inputs[0]][-2 if transposed else -1])
        case Recurrent(weight=weight) as core:
            steps = math.prod(layer.shape[:-1]) - layer.shape[0] * core.keeps_cell
            return steps * int(weight.size)
        case Pool2d(kernel=(height, width)):
            return out * height * width
        case Resample2d(rows=rows, columns=columns):
            return out * sum(int(axis.reads.shape[1]) for axis in (rows, columns))
        case _:
            return out * len(layer.epilogue)


def _step_name(step: Step) -> str:
    """The step's operator; of what is approximated in our kernels the function: other devices have that.

    The power of -1/2 is one of its own, as of all powers an EdgeTPU has this one.
    """
    if step.approximated is not None:
        return step.approximated.function
    return "rsqrt" if (step.op, step.parameters) == ("pow", (-0.5,)) else step.op


def _weights(layer: Layer) -> int:
    match layer.core:
        case Conv2d() | Linear() | Recurrent() as core:
            return int(core.weight.size) + (0 if core.bias is None else int(core.bias.size))
        case _:
            return 0


def _attributes(layer: Layer, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    match layer.core:
        case Conv2d() as core:
            kernel = tuple(map(int, core.weight.shape[2:]))
            return {**_window(core, layer.shape), "kernel": kernel, "groups": core.groups}
        case Pool2d() as core:
            return {**_window(core, layer.shape), "kernel": core.kernel}
        case AdaptivePool2d(output=output):
            return _adaptive(shapes[layer.inputs[0]][2:], output)
        case Slice(step=step):
            return {"step": step}
        case Softmax(dim=dim) | LogSoftmax(dim=dim):
            return {"extents": (shapes[layer.inputs[0]][dim],)}
        case Recurrent(reverse=reverse):
            return {"reverse": reverse}
        case _:
            return {}


def _window(core: Conv2d | Pool2d, shape: Shape) -> dict[str, Any]:
    stride = _strides(core.stride, shape[2:])
    return {"stride": stride, "padding": core.padding, "dilation": core.dilation}


def _strides(given: Shape, counts: Shape) -> Shape:
    """1 where there is one window, which makes no stride."""
    return tuple(1 if count == 1 else stride for stride, count in zip(given, counts, strict=True))


def _adaptive(source: Shape, output: Shape) -> dict[str, Any]:
    kernel = tuple(
        max(stop - start for start, stop in adaptive_windows(extent, count))
        for extent, count in zip(source, output, strict=True)
    )
    equal = all(extent % count == 0 for extent, count in zip(source, output, strict=True))
    strides = _strides(kernel, output) if equal else (1, 1)
    return {"kernel": kernel, "stride": strides, "equal_windows": equal}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def names_of(operator: Operator) -> Iterator[str]:
    """The names that a device has to support for an operator: its own, unless it is its steps, and theirs."""
    if operator.kind != "pointwise":
        yield operator.name
    yield from dict.fromkeys(operator.steps)
