"""The layer graph: what the frontend hands to the compiler.

A graph is a list of layers in an order that runs. Every layer has one *core* operator, read from
its `inputs`, and an *epilogue*: pointwise steps applied to the core's result before it is stored.
A pointwise operator on its own is a layer whose core is `Identity`. Every value is a float32 tensor
with a static shape; constants (parameters that are not a convolution's or linear's own weights)
are arrays of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Shape = tuple[int, ...]

UNARY = (
    "relu", "relu6", "silu", "gelu", "gelu_tanh", "sigmoid", "tanh", "hardswish", "hardsigmoid",
    "leaky_relu", "clamp", "exp", "sqrt", "neg", "abs", "expm1", "log", "log2", "log10", "log1p", "pow",
    "square", "cube", "erf", "sin", "cos", "floor", "ceil", "trunc", "round", "sign", "elu", "softplus",
    "log_sigmoid", "mish", "softsign", "hardshrink", "softshrink", "threshold",
)  # fmt: skip
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
SELECTIONS = ("prelu", "select")


@dataclass(frozen=True)
class Step:
    """One pointwise step of an epilogue: `value = op(value)` or `value = op(value, operand)`.

    `operand` is the name of a value or constant of the graph (broadcast as in torch), or a number;
    None for the unary operators. `reverse` swaps the two sides: `op(operand, value)`. `parameters`
    are the operator's own: (slope,) of leaky_relu, (low, high) of clamp, (exponent,) of pow,
    (alpha, scale, input scale) of elu, (beta, threshold) of softplus, (bound,) of the shrinks,
    (bound, other) of threshold. Of the selections, whose sides cannot be swapped, prelu has the slope of
    negative numbers as its operand, and select a constant mask: where that is 0, its parameter stands in
    place of the value.
    """

    op: str
    operand: str | float | None = None
    reverse: bool = False
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True)
class Identity:
    """The input itself: the core of a layer that is only an epilogue."""


@dataclass(frozen=True, eq=False)
class Conv2d:
    """Weight [K, C / groups, kh, kw], bias [K] or None (batch norm is folded into both).

    Padding is (top, bottom, left, right), zeros.
    """

    weight: Array
    bias: Array | None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, eq=False)
class SeparableConv2d:
    """A depthwise convolution, `steps` without operands, and a pointwise convolution of what they give.

    The compiler puts it in place of the two layers, where that is faster: see `kernels.separable`. The
    depthwise convolution has one output channel an input channel; the pointwise one has stride 1 and no
    padding. `fused` is the name of the depthwise convolution's layer.
    """

    depthwise: Conv2d
    steps: tuple[Step, ...]
    pointwise: Conv2d
    fused: str


@dataclass(frozen=True, eq=False)
class Linear:
    """Weight [out, in] on the last dimension of the input; bias [out] or None."""

    weight: Array
    bias: Array | None


@dataclass(frozen=True)
class Pool2d:
    """Max or average over windows; padding (top, bottom, left, right).

    An average divides by the window's size with its padding, or without where
    `count_include_pad` is false, or by `divisor`. Ceil mode's extra windows are already in the
    layer's output shape; what lies past the padding counts for neither.
    """

    kind: Literal["max", "avg"]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    count_include_pad: bool = True
    divisor: int | None = None


@dataclass(frozen=True)
class AdaptivePool2d:
    """Max or average over windows chosen for an output size, as torch chooses them."""

    kind: Literal["max", "avg"]
    output: tuple[int, int]


@dataclass(frozen=True)
class Mean:
    """Mean over dimensions (non-negative, of the whole shape, batch included)."""

    dims: tuple[int, ...]
    keepdim: bool


@dataclass(frozen=True)
class Reduce:
    """One number of all elements along dimensions (non-negative, of the whole shape, batch included).

    `squares` and `magnitudes` are sums of x^2 and |x|, `deviations` the sum of squared differences from the
    mean, `logsumexp` the logarithm of the sum of e^x.
    """

    kind: Literal["sum", "max", "min", "prod", "squares", "magnitudes", "deviations", "logsumexp"]
    dims: tuple[int, ...]
    keepdim: bool


@dataclass(frozen=True)
class LogSoftmax:
    """The logarithm of the softmax over one dimension (non-negative)."""

    dim: int


@dataclass(frozen=True)
class Softmax:
    """Softmax over one dimension (non-negative).

    Where all elements are negative infinity it is NaN, or 0 if `zero_if_masked`.
    """

    dim: int
    zero_if_masked: bool = False


@dataclass(frozen=True)
class LayerNorm:
    """Each sample less its mean, over the square root of its variance plus `eps`, both over `dims`.

    Dimensions are non-negative. Torch's weight and bias are steps of the layer's epilogue.
    """

    dims: tuple[int, ...]
    eps: float


@dataclass(frozen=True)
class MatMul:
    """Matrix products of two inputs, [..., M, K] by [..., K, N]: as torch.matmul, from two dimensions up.

    The last two dimensions of an input whose transpose flag is set are the other way round. Dimensions
    before them are broadcast.
    """

    transpose_a: bool = False
    transpose_b: bool = False


@dataclass(frozen=True)
class Concat:
    """The inputs, one after the other along a dimension (non-negative)."""

    dim: int


@dataclass(frozen=True)
class Reshape:
    """To the layer's output shape, in row-major order: view, flatten, squeeze, unsqueeze."""


@dataclass(frozen=True)
class Permute:
    """Output dimension i is input dimension `dims[i]`."""

    dims: tuple[int, ...]


@dataclass(frozen=True)
class Slice:
    """`start`, `start + step`, ... along `dim`; the extent is in the output shape. Steps may be negative."""

    dim: int
    start: int
    step: int = 1


@dataclass(frozen=True)
class Gather:
    """Element i along `dim` is the input's element `indices[i]` there."""

    dim: int
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Pad:
    """Constant padding: (before, after) of every dimension, none negative."""

    amounts: tuple[tuple[int, int], ...]
    value: float


class LoweredCore:
    """Base of the cores that the compiler puts in place of the frontend's, made for its kernels."""


Core = (
    Identity
    | Conv2d
    | SeparableConv2d
    | Linear
    | Pool2d
    | AdaptivePool2d
    | Mean
    | Reduce
    | LogSoftmax
    | Softmax
    | LayerNorm
    | MatMul
    | Concat
    | Reshape
    | Permute
    | Slice
    | Gather
    | Pad
    | LoweredCore
)


@dataclass(frozen=True, eq=False)
class Layer:
    """One core operator and its epilogue. The layer's value bears the layer's `name`.

    `name` is the path of the module that owns the core operator in the user's model
    (`layer1.0.conv1`), made unique with a suffix (`relu#2`) where a path owns several layers.
    """

    name: str
    core: Core
    inputs: tuple[str, ...]
    shape: Shape
    epilogue: tuple[Step, ...] = ()

    def reads(self) -> Iterator[str]:
        """Names of the values and constants that the layer reads, the core's inputs first."""
        yield from self.inputs
        yield from (step.operand for step in self.epilogue if isinstance(step.operand, str))

    def renamed(self, names: Mapping[str, str]) -> Layer:
        """The layer, reading the values that have a new name in `names` by that."""
        epilogue = tuple(
            replace(step, operand=names.get(step.operand, step.operand))
            if isinstance(step.operand, str)
            else step
            for step in self.epilogue
        )
        return replace(self, inputs=tuple(names.get(name, name) for name in self.inputs), epilogue=epilogue)


def apart(layer: Layer) -> tuple[Layer, Layer]:
    """The depthwise and the pointwise layer that one of a SeparableConv2d stands for."""
    core = layer.core
    assert isinstance(core, SeparableConv2d)
    between = (layer.shape[0], len(core.depthwise.weight), *layer.shape[2:])
    depthwise = Layer(core.fused, core.depthwise, layer.inputs, between, core.steps)
    return depthwise, replace(layer, core=core.pointwise, inputs=(core.fused,))


@dataclass(eq=False)
class LayerGraph:
    """Layers in an order that runs; `outputs` names values, `output_spec` rebuilds torch's structure.

    `output_spec` is the pytree spec of the model's result; None stands for a single tensor. `known_outputs`
    are results that do not depend on the inputs, by their position among all: torch's tensors, of any dtype,
    numbers, None. `outputs` are the others, in order.
    """

    inputs: dict[str, Shape]
    layers: list[Layer]
    outputs: tuple[str, ...]
    constants: dict[str, Array] = field(default_factory=dict)
    output_spec: Any = None
    known_outputs: dict[int, Any] = field(default_factory=dict)

    def shapes(self) -> dict[str, Shape]:
        """Shape of every value and constant, by name."""
        return {
            **self.inputs,
            **{layer.name: layer.shape for layer in self.layers},
            **{name: array.shape for name, array in self.constants.items()},
        }
