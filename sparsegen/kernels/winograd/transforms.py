"""Winograd's minimal filtering: the matrices of F(m x m, r x r).

An m x m tile of an r x r convolution's output is A'[(G g G') * (B' d B)]A of the n x n input tile d,
n = m + r - 1: n * n multiplications a channel instead of r * r * m * m. Sources: A. Lavin and S. Gray, Fast
Algorithms for Convolutional Neural Networks, 2015; the matrices by Toom's and Cook's interpolation, as in
R. Blahut, Fast Algorithms for Signal Processing, 2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod

from tvm import tirx

from sparsegen.lowering.expressions import Expr

Matrix = tuple[tuple[float, ...], ...]

OUTPUTS = (2, 4, 6)
"""Outputs of a tile along an axis."""
_POINTS = (*map(Fraction, (0, 1, -1, 2, -2)), Fraction(1, 2), Fraction(-1, 2))
"""Where polynomials are evaluated: infinity is the last one.

Results are off by some 6e-7 of their largest with 4 points, 1e-5 with 6, 2e-5 with 8: more would round more.
"""
MOST_TAPS = len(_POINTS) + 2 - min(OUTPUTS)


def outputs_for(taps: int) -> tuple[int, ...]:
    """Outputs along an axis that tiles of a filter with so many taps may have."""
    return tuple(outputs for outputs in OUTPUTS if outputs + taps - 2 <= len(_POINTS))


@dataclass(frozen=True)
class Transform:
    """One F(m, r): `input` is B' [n, n], `weight` G [n, r], `output` A' [m, n]."""

    input: Matrix
    weight: Matrix
    output: Matrix

    @property
    def outputs(self) -> int:
        """Outputs of a tile along an axis: m."""
        return len(self.output)

    @property
    def inputs(self) -> int:
        """Inputs of a tile along an axis: n."""
        return len(self.input)


@cache
def transform(outputs: int, taps: int) -> Transform:
    """F(outputs, taps), for up to `MOST_TAPS` taps.

    A filter's transpose multiplies polynomials: evaluated at n - 1 points and infinity, multiplied there, and
    interpolated by Lagrange's polynomials, the input's rows.
    """
    points = _POINTS[: outputs + taps - 2]
    others = [[q for q in points if q != p] for p in points]
    input_rows = [*map(_polynomial, others), _polynomial(points)]
    weight_rows = [
        [p**i / prod(p - q for q in rest) for i in range(taps)]
        for p, rest in zip(points, others, strict=True)
    ]
    output_rows = [[*(p**i for p in points), Fraction(i == outputs - 1)] for i in range(outputs)]
    last = [Fraction(i == taps - 1) for i in range(taps)]
    inputs = len(points) + 1
    return Transform(
        input=_matrix([[*row, *[Fraction(0)] * (inputs - len(row))] for row in input_rows]),
        weight=_matrix([*weight_rows, last]),
        output=_matrix(output_rows),
    )


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients, the constant first, of the product of x - root."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *coefficients], [*(c * root for c in coefficients), Fraction(0)]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


def _matrix(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return tuple(tuple(map(float, row)) for row in rows)


def combine(coefficients: Sequence[float], values: Sequence[Expr]) -> Expr:
    """The sum of values times constants; terms of one magnitude share a multiplication.

    These sums of terms recur in other rows of a matrix, but for their sign: the compiler finds them.
    """
    result: Expr | None = None
    for magnitude, terms in _by_magnitude(coefficients):
        (first, positive), *rest = terms
        total = values[first]
        for i, sign in rest:
            total = total + values[i] if sign == positive else total - values[i]
        if magnitude != 1:
            total = total * tirx.const(magnitude, "float32")
        if result is None:
            result = total if positive else -total
        else:
            result = result + total if positive else result - total
    assert result is not None, "no row of a matrix is all zeros"
    return result


@cache
def operations(matrix: Matrix) -> int:
    """Additions and multiply-adds of a matrix times a vector: the sums of `combine`, each of them once."""
    count, sums = 0, set()
    for row in matrix:
        groups = _by_magnitude(row)
        count += len(groups) - 1
        for _, terms in groups:
            count += len(terms) - 1 if len(terms) > 1 and terms not in sums else 0
            sums |= {terms, tuple((i, not positive) for i, positive in terms)}
    return count


def _by_magnitude(coefficients: Sequence[float]) -> list[tuple[float, tuple[tuple[int, bool], ...]]]:
    """Each magnitude, with the positions and the signs of its coefficients."""
    return [
        (magnitude, tuple((i, c > 0) for i, c in enumerate(coefficients) if abs(c) == magnitude))
        for magnitude in dict.fromkeys(abs(c) for c in coefficients if c)
    ]


def select(index: Expr, values: Sequence[Expr]) -> Expr:
    """The index-th of some values: just that one once the index is a constant, in an unrolled loop."""
    value = values[-1]
    for i in reversed(range(len(values) - 1)):
        value = tirx.Select(index == i, values[i], value)
    return value
