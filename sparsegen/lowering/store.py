"""Where a kernel's output goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sparsegen.lowering.expressions import Condition, Expr, IntExpr

Parameters = Mapping[str, Any]
"""A kernel's input buffers, by name."""


class Store(Protocol):
    """Where a kernel's output goes. Comparable and hashable: part of a kernel's identity."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output's buffer."""

    def __call__(
        self, point: tuple[Expr, ...], parameters: Parameters
    ) -> tuple[tuple[IntExpr, ...], Condition | None]:
        """Indices in the buffer of a point of the kernel's output, and the condition of storing it."""
