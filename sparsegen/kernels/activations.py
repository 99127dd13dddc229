"""Activations of one float32 expression that are more than arithmetic: see `mathematics`."""

from __future__ import annotations

from tvm import tirx

from sparsegen.kernels.logarithms import log1p
from sparsegen.kernels.mathematics import absolute, at_most, constant, exp, expm1, shared
from sparsegen.lowering.expressions import Expr

_MISH_END = 20.0  # where tanh(softplus(x)) has rounded to 1


def elu(value: Expr, alpha: float, scale: float, input_scale: float) -> Expr:
    """ELU: `scale` times the value, or `alpha * (e^(input_scale * value) - 1)` where that is negative."""
    return shared(
        value,
        lambda x: tirx.Select(
            x < constant(0.0),
            expm1(x * constant(input_scale)) * constant(alpha * scale),
            x * constant(scale),
        ),
    )


def softplus(value: Expr, beta: float, threshold: float) -> Expr:
    """log(1 + e^(beta * value)) / beta, and the value itself where beta * value is above the threshold."""

    def of_scaled(x: Expr, z: Expr) -> Expr:
        return tirx.Select(z > constant(threshold), x, log1p(exp(z)) / constant(beta))

    return shared(value, lambda x: shared(x * constant(beta), lambda z: of_scaled(x, z)))


def log_sigmoid(value: Expr) -> Expr:
    """log(sigmoid(value)), 3e-7: no power overflows, and nothing cancels."""
    return shared(value, lambda x: at_most(x, 0.0) - log1p(exp(-absolute(x))))


def mish(value: Expr) -> Expr:
    """Mish, value * tanh(softplus(value)), 5e-7: tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2)."""

    def of_power(x: Expr, e: Expr) -> Expr:
        return shared(e * (e + constant(2.0)), lambda n: x * (n / (n + constant(2.0))))

    return shared(value, lambda x: shared(exp(at_most(x, _MISH_END)), lambda e: of_power(x, e)))


def softsign(value: Expr) -> Expr:
    """Softsign, value / (1 + |value|)."""
    return shared(value, lambda x: x / (absolute(x) + constant(1.0)))


def hard_shrink(value: Expr, bound: float) -> Expr:
    """The value where it is outside [-bound, bound], else 0."""

    def of_shared(x: Expr) -> Expr:
        inside = tirx.And(x >= constant(-bound), x <= constant(bound))
        return tirx.Select(inside, constant(0.0), x)

    return shared(value, of_shared)


def soft_shrink(value: Expr, bound: float) -> Expr:
    """The value, `bound` nearer to 0: 0 from -bound to bound."""

    def of_shared(x: Expr) -> Expr:
        above, below = x - constant(bound), x + constant(bound)
        inside = x * constant(0.0)  # of the value's sign, NaN of NaN
        return tirx.Select(x > constant(bound), above, tirx.Select(x < constant(-bound), below, inside))

    return shared(value, of_shared)


def threshold(value: Expr, bound: float, other: float) -> Expr:
    """The value where it is above the bound, else another."""
    return shared(value, lambda x: tirx.Select(x <= constant(bound), constant(other), x))


def sign(value: Expr) -> Expr:
    """1 of positive numbers, -1 of negative ones, 0 of the rest, NaN too."""
    one, zero = constant(1.0), constant(0.0)
    return shared(value, lambda x: tirx.Select(x > zero, one, tirx.Select(x < zero, -one, zero)))


def prelu(value: Expr, slope: Expr) -> Expr:
    """The value where it is positive, slope times the value elsewhere."""
    return shared(value, lambda x: tirx.Select(x > constant(0.0), x, x * slope))


def select(value: Expr, mask: Expr, other: float) -> Expr:
    """The value where the mask is not 0, else another."""
    return tirx.Select(mask > constant(0.0), value, constant(other))
