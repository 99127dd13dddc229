"""What every kernel hands to the build: a scheduled function, its arguments, where it stores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen.lowering.expressions import Condition, Expr, IntExpr
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.prefetch import Lines
from sparsegen.lowering.store import Parameters, Store
from sparsegen.runtime.transformed import TransformedFilters

Schedule = dict[str, int | str | bool]

WeightArray = NDArray[Any] | TransformedFilters
"""An array of weights; of those in Winograd's domain what they are made of, which is smaller."""


@dataclass(frozen=True)
class LayoutStore:
    """Stores the points of `layout.space` in the layout's buffer."""

    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """(groups, size)."""
        return self.layout.groups, self.layout.size

    def __call__(
        self, point: tuple[Expr, ...], parameters: Parameters
    ) -> tuple[tuple[IntExpr, ...], Condition | None]:
        """(group, address); all points are stored."""
        address = self.layout.address(self.layout.coordinates(point), self.layout.lane(point))
        return (point[0], address), None


@dataclass(frozen=True, eq=False)
class Kernel:
    """One generated function.

    `module` holds the scheduled function, whose last parameter is the output. `arguments` are the
    parameters before it, in order: the name of a value, or an array of weights. `prefetch`, where
    there is one, tells which lines to fetch ahead: see `lowering.prefetch`.
    """

    kind: str
    module: Any
    store: Store
    arguments: tuple[str | WeightArray, ...]
    format: str = "dense"
    density: float = 1.0
    weight_bytes: int = 0
    prefetch: Lines | None = None
    schedule: Schedule = field(default_factory=dict)


def as_argument(array: WeightArray) -> WeightArray:
    """The array contiguous and not empty, as generated code expects its arguments."""
    if isinstance(array, TransformedFilters):
        return array
    return np.ascontiguousarray(array) if array.size else np.zeros(1, array.dtype)
