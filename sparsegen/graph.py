"""The layer graph: what the frontend hands to the compiler.

A graph is a list of layers in an order that runs. Every layer has one *core* operator, read from
its `inputs`, and an *epilogue*: pointwise steps applied to the core's result before it is stored.
A pointwise operator on its own is a layer whose core is `Identity`. Every value is a tensor with a static
shape; constants (parameters that are not a convolution's or linear's own weights) are arrays of the graph.

What has no kernel is an `Extern`: torch itself computes it. Its inputs and results are plain torch tensors of
any dtype. All other layers read and write float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Shape = tuple[int, ...]

FLOAT32 = "float32"

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


@dataclass(frozen=True, eq=False)
class Interpolation:
    """One axis of a resampling: output i is the sum over t of `weights[i, t] * input[reads[i, t]]`.

    Both are [outputs, taps]. A tap of weight 0 is read all the same: NaN and infinity times 0 are NaN, in
    torch too.
    """

    reads: NDArray[np.int32]
    weights: Array

    @property
    def copies(self) -> bool:
        """Whether every output is one input, as it is."""
        return self.reads.shape[1] == 1 and bool(np.all(self.weights == 1))


@dataclass(frozen=True)
class Resample2d:
    """Images of another height and width: interpolated along columns first, then along rows."""

    rows: Interpolation
    columns: Interpolation


@dataclass(frozen=True)
class PixelShuffle:
    """Channels to pixels, by `factors` down and across, (a, b), without the first pixels of a `crop`.

    Pixel (y, x) of channel c is pixel (v // a, u // b) of channel (c * a + v % a) * b + u % b of the input,
    v being y + crop[0] and u being x + crop[1].
    """

    factors: tuple[int, int]
    crop: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class PixelUnshuffle:
    """Pixels to channels: the inverse of PixelShuffle without a crop."""

    factors: tuple[int, int]


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

    Dimensions are non-negative. Torch's weight and bias are steps of the layer's epilogue. Where not
    `centred`, the mean stays, and takes no part in the variance: RMS norm.
    """

    dims: tuple[int, ...]
    eps: float
    centred: bool = True


@dataclass(frozen=True)
class GroupNorm:
    """As LayerNorm, over each of `groups` of an image's channels; instance norm has one channel a group."""

    groups: int
    eps: float


@dataclass(frozen=True)
class LocalResponseNorm:
    """x / (bias + alpha / size * s)^beta, s the sum of x^2 over a window of `size` channels around x's.

    The window begins size // 2 channels before; channels that are not there count as zero.
    """

    size: int
    alpha: float
    beta: float
    bias: float


@dataclass(frozen=True)
class MatMul:
    """Matrix products of two inputs, [..., M, K] by [..., K, N]: as torch.matmul, from two dimensions up.

    The last two dimensions of an input whose transpose flag is set are the other way round. Dimensions
    before them are broadcast.
    """

    transpose_a: bool = False
    transpose_b: bool = False


@dataclass(frozen=True, eq=False)
class Recurrent:
    """One direction of one layer of an LSTM or GRU, over a sequence: [N, T, gates * padded] to [N, T, H].

    The first input is what the steps' inputs add to the gates, biases included: each gate's H features,
    padded, in torch's order. `weight` [gates * H, H] multiplies the state before, and `bias` [H] or None is
    what a GRU adds to its new gate's product. Further inputs, where there are any, are the initial states
    [N, H], the hidden one and an LSTM's cell; without, they are zero. `reverse` starts at the last step.
    Where `keeps_cell`, the result has one step more, at the end: the LSTM's last cell state.
    """

    kind: Literal["lstm", "gru"]
    weight: Array
    bias: Array | None
    reverse: bool
    keeps_cell: bool

    @property
    def hidden(self) -> int:
        """Features of a state, H."""
        return int(self.weight.shape[1])

    @property
    def gates(self) -> int:
        """Four of an LSTM, three of a GRU."""
        return len(self.weight) // self.hidden


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


@dataclass(frozen=True)
class Read:
    """The place of a layer's `index`-th input among the arguments of an `Extern`."""

    index: int


@dataclass(frozen=True, eq=False)
class Extern:
    """An operator that torch computes, on plain tensors.

    `overload` is torch's, called with `arguments` and `keywords`: numbers, dtypes, constant tensors of the
    core's own, and a `Read` for every input, which lists may hold too. `dtype` is the result's, such as
    "int64", or "tuple" where there are several: each is then a layer of a `Result`. `reason` tells why no
    kernel serves the operator.
    """

    overload: Any
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    dtype: str
    reason: str


@dataclass(frozen=True)
class Result:
    """One of the several results of an `Extern`, the layer's input."""

    index: int
    dtype: str


PlainCore = Extern | Result
"""Cores that torch computes: plain tensors in, a plain tensor out."""


class LoweredCore:
    """Base of the cores that the compiler puts in place of the frontend's, made for its kernels."""


Core = (
    Identity
    | Conv2d
    | SeparableConv2d
    | Linear
    | Pool2d
    | AdaptivePool2d
    | Resample2d
    | PixelShuffle
    | PixelUnshuffle
    | Mean
    | Reduce
    | LogSoftmax
    | Softmax
    | LayerNorm
    | GroupNorm
    | LocalResponseNorm
    | MatMul
    | Recurrent
    | Concat
    | Reshape
    | Permute
    | Slice
    | Gather
    | Pad
    | Extern
    | Result
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

    @property
    def dtype(self) -> str:
        """Type of the elements of the layer's value, or "tuple"."""
        return self.core.dtype if isinstance(self.core, PlainCore) else FLOAT32

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


@dataclass(frozen=True, eq=False)
class CallForm:
    """How a model is called: with positional and keyword arguments, that pytrees of leaves make up.

    `spec` is the pytree spec of all leaves, of (positional, by keyword). `names` are those of the arguments,
    the `positional` ones first; "" for one that cannot be given by name. `leaves` names every leaf; `fixed`
    are those that are no tensors, by their place: each is what the model was compiled with.
    """

    spec: Any
    names: tuple[str, ...]
    positional: int
    leaves: tuple[str, ...]
    fixed: Mapping[int, Any]

    @property
    def is_flat(self) -> bool:
        """Whether every argument is a tensor by position."""
        return len(self.names) == self.positional == len(self.leaves) and not self.fixed


@dataclass(eq=False)
class LayerGraph:
    """Layers in an order that runs; `outputs` names values, `output_spec` rebuilds torch's structure.

    `output_spec` is the pytree spec of the model's result; None stands for a single tensor. `known_outputs`
    are results that do not depend on the inputs, by their position among all: torch's tensors, of any dtype,
    numbers, None. `outputs` are the others, in order. `input_dtypes` are the types of the inputs that are not
    float32. `call` tells how the inputs are given; None: all by position.
    """

    inputs: dict[str, Shape]
    layers: list[Layer]
    outputs: tuple[str, ...]
    constants: dict[str, Array] = field(default_factory=dict)
    output_spec: Any = None
    known_outputs: dict[int, Any] = field(default_factory=dict)
    input_dtypes: dict[str, str] = field(default_factory=dict)
    call: CallForm | None = None

    def input_dtype(self, name: str) -> str:
        """Type of an input's elements."""
        return self.input_dtypes.get(name, FLOAT32)

    def shapes(self) -> dict[str, Shape]:
        """Shape of every value and constant, by name."""
        return {
            **self.inputs,
            **{layer.name: layer.shape for layer in self.layers},
            **{name: array.shape for name, array in self.constants.items()},
        }
