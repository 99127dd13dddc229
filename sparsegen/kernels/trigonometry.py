"""Sine and cosine of one float32 expression, for LLVM to vectorise: see `mathematics`."""

from __future__ import annotations

import math
from collections.abc import Callable

from tvm import tirx

from sparsegen.kernels.mathematics import clamp, constant, nearest, polynomial, shared
from sparsegen.lowering.expressions import Expr

# pi / 2 in two parts of float64.
_HALF_PI = (math.pi / 2, 6.123233995736766e-17)
# sin r = r + r^3 p(r^2) and cos r = 1 - r^2 / 2 + r^4 p(r^2) on |r| <= pi / 4 (Cephes, sinf and cosf).
_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)


def sin(value: Expr) -> Expr:
    """Sine, 2e-7 of arguments to 1e15; of larger ones, which are many turns apart, any number."""
    return shared(value, lambda x: tirx.Select(x == constant(0.0), x, _rotated(x, lambda quadrant: quadrant)))


def cos(value: Expr) -> Expr:
    """Cosine, as `sin`, a quarter of a turn ahead."""
    return shared(value, lambda x: _rotated(x, lambda quadrant: quadrant + tirx.const(1, "int32")))


def _rotated(x: Expr, turn: Callable[[Expr], Expr]) -> Expr:
    """Sine of x once `turn` has added quarters of a turn to its quadrant.

    What is left of x beside a multiple of pi / 2 is computed in float64.
    """

    def of_wide(wide: Expr) -> Expr:
        quarters = nearest(wide * tirx.const(2 / math.pi, "float64"), "float64")
        return shared(quarters, lambda n: of_quarters(wide, n), "float64")

    def of_quarters(wide: Expr, n: Expr) -> Expr:
        rest = wide
        for part in _HALF_PI:  # one rounding each: what cancels is exact
            half_pi = tirx.const(part, "float64")
            rest = tirx.call_llvm_pure_intrin("float64", "llvm.fma", -n, half_pi, rest)
        four = tirx.const(4.0, "float64")
        quadrant = turn((n - four * tirx.floor(n / four)).astype("int32"))
        within = clamp(rest.astype("float32"), -1.0, 1.0)  # past 1e15 the rest is no longer one
        return shared(within, lambda r: shared(quadrant, lambda q: _of_quadrant(r, q), "int32"))

    return shared(x.astype("float64"), of_wide, "float64")


def _of_quadrant(r: Expr, quadrant: Expr) -> Expr:
    one, two = tirx.const(1, "int32"), tirx.const(2, "int32")

    def of_square(square: Expr) -> Expr:
        sine = r + r * square * polynomial(square, [constant(c) for c in _SIN])
        series = polynomial(square, [constant(c) for c in _COS])
        cosine = constant(1.0) - constant(0.5) * square + square * square * series
        is_odd = tirx.bitwise_and(quadrant, one) == one
        return tirx.Select(is_odd, cosine, sine)

    is_negative = tirx.bitwise_and(quadrant, two) == two
    turned = shared(r * r, of_square)
    return shared(turned, lambda value: tirx.Select(is_negative, -value, value))
