"""Which products of a strided convolution are none, as some of its phases have fewer taps than others.

Of a 3x3 filter with stride 2 phase 0 has taps 0 and 2 along an axis, phase 1 has tap 1 alone. Filters are
evaluated at some points and at infinity, where the last tap alone counts: those without it are zero there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from sparsegen.lowering.expressions import Expr


@dataclass(frozen=True)
class Parts:
    """The phases of channels, in parts that lie one after the other; `counts` are the phases in each.

    One part where all phases have as many taps. Else the parts are those of phases that are short across
    alone, not short, short down alone, and short along both axes: so those that are not zero at a tile's
    position are neighbours. The last row and column of the n x n positions are those of infinity.
    """

    counts: tuple[int, ...]

    def begin(self, at: Callable[[int], Expr], j: Expr, n: int) -> Expr:
        """What `at` gives for the first part that is not zero at column j of the positions."""
        return tirx.Select(j == n - 1, at(1), at(0)) if len(self.counts) > 1 else at(0)

    def end(self, at: Callable[[int], Expr], i: Expr, j: Expr, n: int) -> Expr:
        """What `at` gives for the number after that of the last part that is not zero at position (i, j)."""
        if len(self.counts) == 1:
            return at(1)
        return tirx.Select(i == n - 1, at(2), tirx.Select(j == n - 1, at(3), at(4)))

    def shares(self, n: int) -> tuple[float, ...]:
        """Of every part, the share of the n x n positions at which it is not zero."""
        most = (n - 1) / n
        return (most, 1.0, most, most**2) if len(self.counts) > 1 else (1.0,)


def part_of(phase: tuple[int, int], *, whole: int) -> int:
    """The part of a phase (down, across) of those of which the first `whole` along an axis have all taps."""
    down, across = (each < whole for each in phase)
    return (1 if across else 0) if down else (2 if across else 3)
