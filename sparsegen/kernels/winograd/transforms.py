"""Winograd's minimal filtering: the matrices of F(m x m, 3 x 3), and weights transformed by them.

An m x m tile of a 3x3 convolution's output is A'[(G g G') * (B' d B)]A of the n x n input tile d, n = m + 2:
n * n multiplications a channel instead of 9 * m * m. Source: A. Lavin and S. Gray, Fast Algorithms for
Convolutional Neural Networks, 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from sparsegen.graph import Array

Expr = Any
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Transform:
    """One F(m, 3): `input` is B' [n, n], `weight` G [n, 3], `output` A' [m, n]."""

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

    def weights(self, weight: Array) -> NDArray[np.float32]:
        """Filters [K, C, 3, 3] as [n, n, K, C], computed in float64."""
        matrix = np.array(self.weight)
        transformed: NDArray[np.float64] = np.einsum("ia,jb,kcab->ijkc", matrix, matrix, np.float64(weight))
        return transformed.astype(np.float32)


TRANSFORMS = {
    transform.outputs: transform
    for transform in (
        Transform(
            input=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
            weight=((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
            output=((1, 1, 1, 0), (0, 1, -1, -1)),
        ),
        Transform(
            input=(
                (4, 0, -5, 0, 1, 0),
                (0, -4, -4, 1, 1, 0),
                (0, 4, -4, -1, 1, 0),
                (0, -2, -1, 2, 1, 0),
                (0, 2, -1, -2, 1, 0),
                (0, 4, 0, -5, 0, 1),
            ),
            weight=(
                (1 / 4, 0, 0),
                (-1 / 6, -1 / 6, -1 / 6),
                (-1 / 6, 1 / 6, -1 / 6),
                (1 / 24, 1 / 12, 1 / 6),
                (1 / 24, -1 / 12, 1 / 6),
                (0, 0, 1),
            ),
            output=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
        ),
    )
}
"""By the outputs of a tile along an axis."""


def combine(coefficients: Sequence[float], values: Sequence[Expr]) -> Expr:
    """The sum of values times constants; terms of one magnitude share a multiplication.

    These sums of terms recur in other rows of a matrix, but for their sign: the compiler finds them.
    """
    result: Expr = None
    for magnitude in dict.fromkeys(abs(c) for c in coefficients if c):
        terms = [(c > 0, value) for c, value in zip(coefficients, values, strict=True) if abs(c) == magnitude]
        positive, total = terms[0]
        for sign, value in terms[1:]:
            total = total + value if sign == positive else total - value
        if magnitude != 1:
            total = total * tirx.const(magnitude, "float32")
        if result is None:
            result = total if positive else -total
        else:
            result = result + total if positive else result - total
    return result


def select(index: Expr, values: Sequence[Expr]) -> Expr:
    """The index-th of some values: just that one once the index is a constant, in an unrolled loop."""
    value = values[-1]
    for i in reversed(range(len(values) - 1)):
        value = tirx.Select(index == i, values[i], value)
    return value
