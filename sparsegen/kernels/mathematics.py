"""Functions of one float32 expression, written so that LLVM vectorises them.

A call of `expf` or `tanhf` in a vectorised loop becomes one scalar call a lane; these are polynomials
instead. Relative errors are against float64, over the range where the result is a normal number.
NaN goes through everywhere, as in torch: a comparison with NaN is false, so every selection below
keeps the value where its test fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np
from tvm import tirx

from sparsegen.lowering.expressions import Expr

LARGEST = float(np.finfo(np.float32).max)
_LOG2_E = 1.4426950408889634
# ln 2 in two parts: a multiple of the first by an integer below 2^9 is exact (Cephes, expf).
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
# exp(r) = 1 + r + r^2 p(r) on |r| <= ln 2 / 2, from the highest power down (Cephes, expf).
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_EXP_RANGE = (-104.0, 89.0)  # past these the result rounds to zero and to infinity
_ROUND = 12582912.0  # 1.5 * 2^23: added and taken off again, it rounds to an integer
_ROUND_BITS = 0x4B400000  # the bits of _ROUND: those of _ROUND + n are n more
# tanh(x) = x p(x^2) / q(x^2) on |x| <= _TANH_END, where it rounds to 1 (Eigen, ptanh_float, the bound
# being that for fused multiply-adds).
_TANH_END = 7.99881172180175781
_TANH_P = (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
    1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
)  # fmt: skip
_TANH_Q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
# erfc(z) = exp(-z^2) t p(t) with t = 1 / (1 + _ERFC_SLOPE z), z >= 0: the form of Abramowitz and Stegun
# 7.1.26, fitted by reweighted least squares to a relative error of 4e-8 on [0, 10].
_ERFC_SLOPE = 0.3
_ERFC = (
    -0.12952275574207306, 0.48556244373321533, -0.5122765302658081, 0.5477182865142822, -0.0946495309472084,
    0.21492555737495422, 0.14833930134773254, 0.17071521282196045, 0.1691880077123642,
)  # fmt: skip

# erf(x) = x p(x^2) on |x| <= 1 (Cephes, ndtrf).
_ERF = (
    7.853861353153693e-5, -8.010193625184903e-4, 5.188327685732524e-3, -2.685381193529856e-2,
    1.128358514861418e-1, -3.761262582423300e-1, 1.128379165726710,
)  # fmt: skip


def constant(value: float) -> Expr:
    """A float32 constant; infinite past float32's range, as where torch takes a Python number.

    TVM's simplifier takes no account of NaN, infinity and -0.0: for it `x * 0` and `0 / x` are 0, `x + 0` is
    x, and `x / 0` aborts. So zero is the integral part of zero, as LLVM sees and the simplifier does not.
    """
    with np.errstate(over="ignore"):
        number = np.float32(value)
    literal = tirx.const(float(number), "float32")
    return literal if number else tirx.call_intrin("float32", "tirx.trunc", literal)


def opaque(value: Expr) -> Expr:
    """The value, which TVM's simplifier does not look into; LLVM does, so that it costs nothing.

    Else `(x + a) - a` becomes x for it.
    """
    return tirx.reinterpret("float32", tirx.reinterpret("int32", value))


def rounded_product(left: Expr, right: Expr) -> Expr:
    """The product, rounded even where it is added to something: LLVM makes no multiply-add of this one.

    It is a multiply-add itself, with a -0.0 that LLVM cannot know: that changes no product, be it -0.0.
    """
    nothing = tirx.call_llvm_pure_intrin("float32", "llvm.arithmetic.fence", tirx.const(-0.0, "float32"))
    return tirx.call_llvm_pure_intrin("float32", "llvm.fma", left, right, nothing)


def shared(value: Expr, body: Callable[[Expr], Expr], dtype: str = "float32") -> Expr:
    """`body(value)` with the value computed once, however often the body mentions it.

    Expressions are trees: without this, nested functions grow exponentially.
    """
    variable = tirx.Var("shared", dtype)
    return tirx.Let(variable, value, body(variable))


def at_least(value: Expr, low: float) -> Expr:
    """The larger of the two: one instruction; NaN stays."""
    return tirx.Select(constant(low) > value, constant(low), value)


def at_most(value: Expr, high: float) -> Expr:
    """The smaller of the two: one instruction; NaN stays."""
    return tirx.Select(constant(high) < value, constant(high), value)


def clamp(value: Expr, low: float, high: float) -> Expr:
    """The value within the bounds; as in torch `high` wins where they cross, and a bound of NaN over all."""
    if math.isnan(low) or math.isnan(high):
        return constant(math.nan)
    return shared(shared(value, lambda v: at_least(v, low)), lambda v: at_most(v, high))


def maximum(left: Expr, right: Expr) -> Expr:
    """The larger of two values, the right one where they are equal; NaN if either is."""
    return shared(
        left,
        lambda a: shared(right, lambda b: tirx.Select(a <= constant(math.inf), tirx.Select(a > b, a, b), a)),
    )


def minimum(left: Expr, right: Expr) -> Expr:
    """The smaller of two values, the right one where they are equal; NaN if either is."""
    return shared(
        left,
        lambda a: shared(right, lambda b: tirx.Select(a <= constant(math.inf), tirx.Select(a < b, a, b), a)),
    )


def square(value: Expr) -> Expr:
    """value^2, rounded."""
    return shared(value, lambda x: rounded_product(x, x))


def cube(value: Expr) -> Expr:
    """value^3, rounded after each product."""
    return shared(value, lambda x: rounded_product(rounded_product(x, x), x))


def larger(left: Expr, right: Expr) -> Expr:
    """The larger of two values; NaN if either is, which a plain maximum does not promise."""
    return tirx.Select(right <= constant(math.inf), tirx.Select(right > left, right, left), right)


def absolute(value: Expr) -> Expr:
    """|value|; of -0.0 that is 0.0."""
    return tirx.abs(value)


def nearest(value: Expr, dtype: str = "float32") -> Expr:
    """The nearest whole number, the even one of two; TVM does not vectorise its own operator."""
    return tirx.call_llvm_pure_intrin(dtype, "llvm.nearbyint", value)


def exp(value: Expr) -> Expr:
    """e^value, 2e-7: 2^n e^r with n an integer and |r| <= ln 2 / 2."""

    def of_clamped(x: Expr) -> Expr:
        return shared(x * constant(_LOG2_E) + constant(_ROUND), lambda rounded: of_rounded(x, rounded))

    def of_rounded(x: Expr, rounded: Expr) -> Expr:
        n = rounded - constant(_ROUND)
        rest = x - n * constant(_LN2_HIGH) - n * constant(_LN2_LOW)
        series = shared(rest, lambda r: _polynomial(r, _EXP) * r * r + r + constant(1.0))
        exponent = tirx.reinterpret("int32", rounded) - tirx.const(_ROUND_BITS, "int32")
        return shared(
            exponent, lambda n: series * _power_of_two(n >> 1) * _power_of_two(n - (n >> 1)), "int32"
        )

    return shared(clamp(value, *_EXP_RANGE), of_clamped)


def expm1(value: Expr) -> Expr:
    """e^value - 1, 3e-7: 2^n (e^r - 1) + 2^n - 1 in the order that neither overflows nor cancels."""

    def of_clamped(x: Expr) -> Expr:
        return shared(x * constant(_LOG2_E) + constant(_ROUND), lambda rounded: of_rounded(x, rounded))

    def of_rounded(x: Expr, rounded: Expr) -> Expr:
        n = rounded - constant(_ROUND)
        rest = x - n * constant(_LN2_HIGH) - n * constant(_LN2_LOW)
        series = shared(rest, lambda r: _polynomial(r, _EXP) * r * r + r)
        exponent = tirx.reinterpret("int32", rounded) - tirx.const(_ROUND_BITS, "int32")
        return shared(exponent, lambda n: of_parts(series, n >> 1, n - (n >> 1)), "int32")

    def of_parts(series: Expr, first: Expr, second: Expr) -> Expr:
        ones = shared(_power_of_two(first), lambda p: series * p + (p - _power_of_two(-second)))
        return ones * _power_of_two(second)

    def of_shared(x: Expr) -> Expr:
        return tirx.Select(x == constant(0.0), x, shared(clamp(x, *_EXP_RANGE), of_clamped))

    return shared(value, of_shared)


def two_to_the(exponent: Expr) -> Expr:
    """2 to the power of a float64 expression from -250 to 250, rounded to float32, 2e-7."""
    whole = nearest(exponent, "float64")

    def of_whole(n: Expr) -> Expr:
        rest = (exponent - n).astype("float32") * constant(math.log(2.0))
        series = shared(rest, lambda r: _polynomial(r, _EXP) * r * r + r + constant(1.0))
        return shared(
            n.astype("int32"), lambda e: series * _power_of_two(e >> 1) * _power_of_two(e - (e >> 1)), "int32"
        )

    return shared(whole, of_whole, "float64")


def sigmoid(value: Expr) -> Expr:
    """1 / (1 + e^-value), 3e-7."""
    return constant(1.0) / (constant(1.0) + exp(-value))


def silu(value: Expr) -> Expr:
    """SiLU, value * sigmoid(value), 3e-7."""
    return shared(value, lambda v: v / (constant(1.0) + exp(-v)))


def tanh(value: Expr) -> Expr:
    """Hyperbolic tangent, 5e-7."""

    def rational(x: Expr) -> Expr:
        return shared(x * x, lambda square: x * _polynomial(square, _TANH_P) / _polynomial(square, _TANH_Q))

    return shared(clamp(value, -_TANH_END, _TANH_END), rational)


def gelu(value: Expr) -> Expr:
    """GELU, value * Phi(value) with Phi the normal distribution, 1e-6 on [-5, inf].

    Phi is erfc(-value / sqrt 2) / 2 where the value is negative, so that nothing cancels in the tail.
    """

    def of_distance(x: Expr, z: Expr) -> Expr:
        reciprocal = constant(1.0) / (constant(1.0) + z * constant(_ERFC_SLOPE * math.sqrt(0.5)))
        series = shared(reciprocal, lambda t: t * _polynomial(t, _ERFC))
        tail = constant(0.5) * series * exp(x * x * constant(-0.5))
        return shared(tail, lambda q: x * tirx.Select(x > constant(0.0), constant(1.0) - q, q))

    return shared(value, lambda x: shared(absolute(x), lambda z: of_distance(x, z)))


def erf(value: Expr) -> Expr:
    """Error function, 3e-7: a series near 0, elsewhere 1 - erfc."""

    def of_distance(x: Expr, z: Expr) -> Expr:
        reciprocal = constant(1.0) / (constant(1.0) + z * constant(_ERFC_SLOPE))
        tail = shared(reciprocal, lambda t: t * _polynomial(t, _ERFC)) * exp(-(z * z))
        far = shared(constant(1.0) - tail, lambda v: tirx.Select(x > constant(0.0), v, -v))
        near = shared(x * x, lambda square: x * _polynomial(square, _ERF))
        return tirx.Select(z < constant(1.0), near, far)

    return shared(value, lambda x: shared(absolute(x), lambda z: of_distance(x, z)))


def gelu_tanh(value: Expr) -> Expr:
    """GELU's approximation value * (1 + tanh u) / 2 = value * sigmoid(2 u), 2e-6 on [-5, inf]."""
    slope = 2.0 * math.sqrt(2.0 / math.pi)

    def of_shared(x: Expr) -> Expr:
        return x * sigmoid(x * (constant(slope) + x * x * constant(slope * 0.044715)))

    return shared(value, of_shared)


def hard_sigmoid(value: Expr) -> Expr:
    """min(max(value + 3, 0), 6) / 6."""
    return _up_to_six(value) * constant(1.0 / 6.0)


def hard_swish(value: Expr) -> Expr:
    """Hard swish, value * hard_sigmoid(value), in torch's order: the product overflows where torch's does."""
    return shared(value, lambda x: x * _up_to_six(x) * constant(1.0 / 6.0))


def leaky_relu(value: Expr, slope: float) -> Expr:
    """The value where it is positive, slope times the value elsewhere."""
    return shared(value, lambda x: tirx.Select(x > constant(0.0), x, x * constant(slope)))


def _up_to_six(value: Expr) -> Expr:
    """min(max(value + 3, 0), 6)."""
    return clamp(value + constant(3.0), 0.0, 6.0)


def _polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    return polynomial(x, [constant(coefficient) for coefficient in coefficients])


def polynomial(x: Expr, coefficients: Sequence[Expr]) -> Expr:
    """Horner's scheme, from the highest power down."""
    first, *rest = coefficients
    return reduce(lambda value, coefficient: value * x + coefficient, rest, first)


def _power_of_two(exponent: Expr) -> Expr:
    """2^exponent of an int32 in [-126, 127], put together from bits."""
    bias, mantissa_bits = tirx.const(127, "int32"), tirx.const(23, "int32")
    return tirx.reinterpret("float32", (exponent + bias) << mantissa_bits)
