"""Logarithms and powers of one float32 expression, for LLVM to vectorise: see `mathematics`."""

from __future__ import annotations

import math
from collections.abc import Callable

from tvm import tirx

from sparsegen.kernels.mathematics import (
    LARGEST,
    absolute,
    constant,
    opaque,
    polynomial,
    shared,
    two_to_the,
)
from sparsegen.lowering.expressions import Expr

_NORMAL = 2.0**-126  # the least normal number
_SQRT_HALF_BITS = 0x3F3504F3  # of sqrt(1/2): mantissas are taken from there to sqrt 2
# log(1 + f) = f - f^2 / 2 + f^3 p(f) on [sqrt(1/2), sqrt 2], from the highest power down (Cephes, logf).
_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
# Of ln 2 and of log10 2, in two parts: a multiple of the first by an exponent is exact.
_LN2 = (0.693359375, -2.12194440e-4)
_LOG10_2 = (0.301025390625, 4.6050389811952137e-6)
# log2 m = s p(s^2) with s = (m - 1) / (m + 1): the series of 2 atanh(s) / ln 2, 2e-12 on [sqrt(1/2), sqrt 2].
_LOG2 = tuple(2.0 / (math.log(2.0) * power) for power in (13, 11, 9, 7, 5, 3, 1))
_POWER_RANGE = 200.0  # 2 to the power of it, and to its negative, is past float32's range


def log(value: Expr) -> Expr:
    """Natural logarithm, 2e-7."""
    return _logarithm(value, lambda r, e: r + e * constant(_LN2[1]) + e * constant(_LN2[0]))


def log2(value: Expr) -> Expr:
    """Logarithm to the base 2, 3e-7; exact of powers of 2."""
    return _logarithm(value, lambda r, e: r * constant(1 / math.log(2.0)) + e)


def log10(value: Expr) -> Expr:
    """Logarithm to the base 10, 3e-7."""
    slope = constant(1 / math.log(10.0))
    return _logarithm(value, lambda r, e: r * slope + e * constant(_LOG10_2[1]) + e * constant(_LOG10_2[0]))


def log1p(value: Expr) -> Expr:
    """log(1 + value), 3e-7: what the rounding of the sum loses is added by the logarithm's slope there."""

    def of_sum(x: Expr, u: Expr) -> Expr:
        corrected = log(u) + (x - (u - constant(1.0))) / u
        is_plain = tirx.And(u > constant(0.0), u <= constant(LARGEST))
        return tirx.Select(u == constant(1.0), x, tirx.Select(is_plain, corrected, log(u)))

    return shared(value, lambda x: shared(opaque(constant(1.0) + x), lambda u: of_sum(x, u)))


def power(value: Expr, exponent: float) -> Expr:
    """value^exponent for a finite exponent other than 0, 3e-7: its logarithm is one of float64."""

    def of_magnitude(x: Expr, magnitude: Expr) -> Expr:
        zero, infinite = (0.0, math.inf) if exponent > 0 else (math.inf, 0.0)
        result = tirx.Select(
            magnitude == constant(0.0),
            constant(zero),
            tirx.Select(
                magnitude > constant(LARGEST), constant(infinite), _finite_power(magnitude, exponent)
            ),
        )
        return tirx.Select(magnitude <= constant(math.inf), _signed(result, x, exponent), x)

    return shared(value, lambda x: shared(absolute(x), lambda magnitude: of_magnitude(x, magnitude)))


def _signed(result: Expr, x: Expr, exponent: float) -> Expr:
    """A power of |x| as the power of x: negative where x is and the exponent is odd, NaN for a fraction."""
    if not exponent.is_integer():
        return tirx.Select(tirx.And(x < constant(0.0), x >= constant(-LARGEST)), constant(math.nan), result)
    if exponent % 2 == 0:
        return result
    sign = tirx.bitwise_and(tirx.reinterpret("int32", x), tirx.const(-(2**31), "int32"))
    return tirx.reinterpret("float32", tirx.bitwise_or(tirx.reinterpret("int32", result), sign))


def _finite_power(magnitude: Expr, exponent: float) -> Expr:
    one, bound = tirx.const(1.0, "float64"), tirx.const(_POWER_RANGE, "float64")
    coefficients = [tirx.const(c, "float64") for c in _LOG2]

    def of_ratio(s: Expr, e: Expr) -> Expr:
        logarithm = shared(s * s, lambda square: s * polynomial(square, coefficients), "float64")
        return (logarithm + e.astype("float64")) * tirx.const(exponent, "float64")

    def of_parts(mantissa: Expr, e: Expr) -> Expr:
        ratio = shared(mantissa.astype("float64"), lambda m: (m - one) / (m + one), "float64")
        exact = shared(ratio, lambda s: of_ratio(s, e), "float64")
        above = shared(exact, lambda t: tirx.max(t, -bound), "float64")
        return shared(shared(above, lambda t: tirx.min(t, bound), "float64"), two_to_the, "float64")

    return _parts(magnitude, of_parts)


def _logarithm(value: Expr, combine: Callable[[Expr, Expr], Expr]) -> Expr:
    """`combine(log of the mantissa, exponent)` of positive numbers; -inf of 0, NaN of negative numbers."""

    def of_parts(mantissa: Expr, e: Expr) -> Expr:
        return shared(
            mantissa - constant(1.0),
            lambda f: shared(_log_of_mantissa(f), lambda r: combine(r, e)),
        )

    def of_shared(x: Expr) -> Expr:
        below = tirx.Select(x == constant(0.0), constant(-math.inf), constant(math.nan))
        positive = tirx.Select(x <= constant(LARGEST), _parts(x, of_parts), x)
        return tirx.Select(x > constant(0.0), positive, below)

    return shared(value, of_shared)


def _log_of_mantissa(f: Expr) -> Expr:
    series = polynomial(f, [constant(c) for c in _LOG])
    return shared(f * f, lambda square: f + (f * square * series - constant(0.5) * square))


def _parts(value: Expr, body: Callable[[Expr, Expr], Expr]) -> Expr:
    """`body(m, e)` of a positive number m 2^e, m from sqrt(1/2) to sqrt 2, both of float32."""
    is_small = value < constant(_NORMAL)
    scaled = tirx.Select(is_small, value * constant(2.0**23), value)
    offset = tirx.Select(is_small, constant(23.0), constant(0.0))
    first, mantissa_bits = tirx.const(_SQRT_HALF_BITS, "int32"), tirx.const(23, "int32")

    def of_bits(bits: Expr) -> Expr:
        def of_exponent(e: Expr) -> Expr:
            mantissa = tirx.reinterpret("float32", bits - (e << mantissa_bits))
            return shared(
                mantissa, lambda m: shared(e.astype("float32") - offset, lambda exponent: body(m, exponent))
            )

        return shared((bits - first) >> mantissa_bits, of_exponent, "int32")

    return shared(tirx.reinterpret("int32", scaled), of_bits, "int32")
