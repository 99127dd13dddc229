"""Piecewise linear functions of one float32 expression: two operations a knot, one where it is symmetric.

A sum of ReLUs, `s x + sum(d_i max(x - x_i, 0))`, adds slopes that cancel: far from the knots it rounds as |x|
does, and at infinity it is NaN. So the tails are apart, and what is between them is cut off at the last knot:

    f(x) = C + m_0 min(x, x_1) + sum(e_i max(t, x_i), i < n) + m_n max(x, x_n)    with t = min(x, x_n)

where m are the slopes, e_1 = m_1 and e_i = m_i - m_(i-1): a maximum and a multiply-add a knot, and none for a
tail of slope 0. With symmetric knots, half of them are enough: t is min(|x|, x_n), and the sum over positive
knots either is even, and bends the tails' m_0 min(x, 0) + m_n max(x, 0), or is odd, and takes the sign of x.
What float32 rounds of the functions that `compile` approximates, to within 1e-2 and 1e-3, is at most 3e-6
between their knots, 1e-6 where they are symmetric; tails are rounded once or twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from tvm import tirx

from sparsegen.graph import Piecewise
from sparsegen.kernels.mathematics import absolute, at_least, at_most, clamp, constant, shared
from sparsegen.lowering.expressions import Expr

Symmetry = Literal["even", "odd"]
_SIGN_BIT = -(2**31)


@dataclass(frozen=True)
class _Middle:
    """`offset + slope * t + sum(factor * max(t, knot))` of t up to `end`; it is constant from there on."""

    offset: float
    slope: float
    knots: tuple[float, ...]
    factors: tuple[float, ...]
    end: float

    @classmethod
    def ending(cls, value: float, slopes: tuple[float, ...], knots: tuple[float, ...]) -> _Middle:
        """That with `value` from the last knot on, and before each knot a slope.

        The offset makes up for what float32 rounds of factors and knots.
        """
        *inner, end = map(_rounded, knots)
        first, *factors = (_rounded(after - before) for before, after in pairwise((0.0, *slopes)))
        rest = sum(factor * max(end, knot) for factor, knot in zip(factors, inner, strict=True))
        return cls(value - first * end - rest, first, tuple(inner), tuple(factors), end)

    @property
    def operations(self) -> int:
        return 1 + (self.slope != 0) + 2 * len(self.knots)

    def apply(self, value: Expr) -> Expr:
        """Of NaN, that: the cut keeps it, and so does the first operation on what is cut."""

        def of_cut(t: Expr) -> Expr:
            total = constant(self.offset)
            if self.slope:
                total = t * constant(self.slope) + total
            for number, (knot, factor) in enumerate(zip(self.knots, self.factors, strict=True)):
                is_first = number == 0 and not self.slope
                above = at_least(t, knot) if is_first else _larger(t, knot)
                total = above * constant(factor) + total
            return total

        return shared(at_most(value, self.end), of_cut)


def piecewise(value: Expr, *parameters: float) -> Expr:
    """The function of a step's parameters, see `graph.Piecewise`; NaN goes through."""
    function = Piecewise.of(parameters)
    if not any(function.slopes):
        return clamp(value, 0.0, 0.0) + constant(function.constant)
    evaluate = {None: _plain, "even": _even, "odd": _odd}[symmetry(function)]
    return shared(value, lambda x: evaluate(function, x))


def symmetry(function: Piecewise) -> Symmetry | None:
    """Whether it is a line and an even function, or a constant and an odd one with level tails."""
    knots, bends = function.knots, function.bends
    if len(knots) < 2 or any(a != -b for a, b in zip(knots, reversed(knots), strict=True)):
        return None
    if all(a == b for a, b in zip(bends, reversed(bends), strict=True)):
        return "even"
    is_odd = all(a == -b for a, b in zip(bends, reversed(bends), strict=True)) and len(knots) > 2
    return "odd" if is_odd and function.slopes[0] == 0 else None


def operations(function: Piecewise) -> int:
    """Arithmetic instructions a vector, as AVX2 counts them."""
    left, right = _tail_operations(function)
    match symmetry(function):
        case "even":
            return 1 + _even_middle(function).operations + left + right
        case "odd":
            return 3 + _odd_middle(function).operations + (_centre(function) != 0)
    if len(function.knots) < 2:
        return left + right
    return _plain_middle(function).operations + left + right


def _tail_operations(function: Piecewise) -> tuple[int, int]:
    """Of m_0 min(x, x_1) and m_n max(x, x_n)."""
    slopes = function.slopes
    return 2 * (slopes[0] != 0), 2 * (slopes[-1] != 0)


def _plain_middle(function: Piecewise) -> _Middle:
    """What is between the tails, these being m_0 min(x, x_1) and m_n max(x, x_n)."""
    knots, slopes = function.knots, function.slopes
    value = function(knots[-1]) - slopes[0] * knots[0] - slopes[-1] * knots[-1]
    return _Middle.ending(value, (0.0, *slopes[1:-1]), knots)


def _plain(function: Piecewise, x: Expr) -> Expr:
    knots, slopes = function.knots, function.slopes
    if len(knots) == 1:
        offset = function(knots[0]) - (slopes[0] + slopes[-1]) * knots[0]
        return _with_tails(function, x, constant(offset), knots[0], knots[0])
    return _with_tails(function, x, _plain_middle(function).apply(x), knots[0], knots[-1])


def _even_middle(function: Piecewise) -> _Middle:
    """Of |x|: what is left beside the tails m_0 min(x, 0) and m_n max(x, 0)."""
    last = function.slopes[-1]
    positive = tuple(knot for knot in function.knots if knot > 0)
    slopes = tuple(slope - last for slope in function.slopes[-1 - len(positive) : -1])
    return _Middle.ending(function(positive[-1]) - last * positive[-1], slopes, positive)


def _even(function: Piecewise, x: Expr) -> Expr:
    return _with_tails(function, x, _even_middle(function).apply(absolute(x)), 0.0, 0.0)


def _centre(function: Piecewise) -> float:
    """The value of an odd function at 0, half way between its tails; 0 is exactly that."""
    low, high = function.constant, function(function.knots[-1])
    return (low + high) / 2 if abs(low + high) > 1e-12 * abs(high - low) else 0.0


def _odd_middle(function: Piecewise) -> _Middle:
    """Of |x|: what is beside the value at 0."""
    positive = tuple(knot for knot in function.knots if knot > 0)
    slopes = function.slopes[-1 - len(positive) : -1]
    return _Middle.ending(function(positive[-1]) - _centre(function), slopes, positive)


def _odd(function: Piecewise, x: Expr) -> Expr:
    distance = _odd_middle(function).apply(absolute(x))
    sign = tirx.reinterpret("int32", x) & tirx.const(_SIGN_BIT, "int32")
    signed = tirx.reinterpret("float32", tirx.bitwise_xor(tirx.reinterpret("int32", distance), sign))
    centre = _centre(function)
    return signed + constant(centre) if centre else signed


def _with_tails(function: Piecewise, x: Expr, middle: Expr, low: float, high: float) -> Expr:
    """The middle and m_0 min(x, low) + m_n max(x, high)."""
    left, right = function.slopes[0], function.slopes[-1]
    total = middle
    if left:
        total = at_most(x, low) * constant(left) + total
    if right:
        total = at_least(x, high) * constant(right) + total
    return total


def _rounded(value: float) -> float:
    return float(np.float32(value))


def _larger(value: Expr, low: float) -> Expr:
    """The larger of two, in the order in which the number may lie in memory; of NaN, the number."""
    return tirx.Select(value > constant(low), value, constant(low))
