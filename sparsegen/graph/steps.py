"""Pointwise steps, of which a layer's epilogue is made."""

from __future__ import annotations

from dataclasses import dataclass, field

UNARY = (
    "relu", "relu6", "silu", "gelu", "gelu_tanh", "sigmoid", "tanh", "hardswish", "hardsigmoid",
    "leaky_relu", "clamp", "exp", "sqrt", "neg", "abs", "expm1", "log", "log2", "log10", "log1p", "pow",
    "square", "cube", "erf", "sin", "cos", "floor", "ceil", "trunc", "round", "sign", "elu", "softplus",
    "log_sigmoid", "mish", "softsign", "hardshrink", "softshrink", "threshold", "piecewise",
)  # fmt: skip
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
SELECTIONS = ("prelu", "select")


@dataclass(frozen=True)
class ApproximatedStep:
    """A function that a caller allows to be approximated, and what became of it.

    It is piecewise linear with so many `knots` and errs by at most `error`, beside what float32 rounds;
    `why` tells how that is known. Without knots it stays exact, and `why` tells the reason.
    """

    function: str
    knots: int
    error: float
    why: str


@dataclass(frozen=True)
class Step:
    """One pointwise step of an epilogue: `value = op(value)` or `value = op(value, operand)`.

    `operand` is the name of a value or constant of the graph (broadcast as in torch), or a number;
    None for the unary operators. `reverse` swaps the two sides: `op(operand, value)`. `parameters`
    are the operator's own: (slope,) of leaky_relu, (low, high) of clamp, (exponent,) of pow,
    (alpha, scale, input scale) of elu, (beta, threshold) of softplus, (bound,) of the shrinks,
    (bound, other) of threshold, (constant, slope, knot, bend, knot, bend, ...) of piecewise, see
    `graph.Piecewise`. Of the selections, whose sides cannot be swapped, prelu has the slope of
    negative numbers as its operand, and select a constant mask: where that is 0, its parameter stands in
    place of the value.

    `approximated` tells, for reports alone, what became of a function that may be approximated.
    """

    op: str
    operand: str | float | None = None
    reverse: bool = False
    parameters: tuple[float, ...] = ()
    approximated: ApproximatedStep | None = field(default=None, compare=False, repr=False)
