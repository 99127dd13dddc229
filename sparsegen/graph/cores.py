"""The core operators of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparsegen.graph.steps import Step

Array = NDArray[np.float32]
Shape = tuple[int, ...]


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


def adaptive_windows(extent: int, count: int) -> list[tuple[int, int]]:
    """Where the windows of an adaptive pool begin and end along an axis, as torch chooses them."""
    return [(at * extent // count, -(-(at + 1) * extent // count)) for at in range(count)]


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
