"""Where the windows of a pooling lie along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsegen.lowering.expressions import Condition, IntExpr

N = TypeVar("N", int, IntExpr)


@dataclass(frozen=True)
class Windows:
    """Windows of at most `size` taps on an axis of `extent` positions, `before` of padding in front.

    Tap k of output o is position `o * stride + k * dilation` of the padded axis where the windows
    are even. Otherwise they are torch's adaptive ones, which cut the axis in `outputs` parts: they
    start at `o * extent // outputs`, and have as many taps as the part has positions.
    """

    extent: int
    outputs: int
    size: int
    stride: int
    before: int = 0
    dilation: int = 1
    even: bool = True

    @staticmethod
    def adaptive(extent: int, outputs: int) -> Windows:
        """Windows that cut an axis in parts; uneven ones overlap."""
        if extent % outputs == 0:
            return Windows(extent, outputs, extent // outputs, extent // outputs)
        size = max(_end(o, extent, outputs) - o * extent // outputs for o in range(outputs))
        return Windows(extent, outputs, size, 1, even=False)

    @property
    def span(self) -> int:
        """Positions of the padded axis from the first tap to the last."""
        if not self.even:
            return self.extent
        return (self.outputs - 1) * self.stride + (self.size - 1) * self.dilation + 1

    def tap(self, output: IntExpr, k: IntExpr) -> IntExpr:
        """Position on the padded axis."""
        if self.even:
            return output * self.stride + k * self.dilation
        return output * self.extent // self.outputs + k

    def exists(self, output: IntExpr, k: IntExpr) -> list[Condition]:
        """Tests of whether an output has a k-th tap."""
        return [] if self.even else [self.tap(output, k) < _end(output, self.extent, self.outputs)]

    def inside(self, position: IntExpr) -> list[Condition]:
        """Tests of whether a position of the padded axis is one of the axis itself."""
        end = self.before + self.extent
        tests: list[Condition] = [] if self.before == 0 else [position >= self.before]
        return tests if self.span <= end else [*tests, position < end]

    def counts(self, *, padding: bool = False, after: int = 0) -> NDArray[np.int64]:
        """Taps of every output on the axis; with `padding` those on it too, `after` of it at the end."""
        taken: Any = np.indices((self.outputs, self.size))  # arithmetic serves arrays, too
        output, k = taken
        taps: Any = self.tap(output, k)
        begin, end = (
            (0, self.before + self.extent + after) if padding else (self.before, self.before + self.extent)
        )
        counted = (taps >= begin) & (taps < end)
        for test in self.exists(output, k):
            counted &= test
        return np.asarray(counted.sum(axis=1))


def _end(output: N, extent: int, outputs: int) -> N:
    """One past the last position of an adaptive window."""
    return ((output + 1) * extent + outputs - 1) // outputs
