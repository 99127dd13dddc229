"""Arrays that are made of smaller ones: filters in Winograd's domain, of the filters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen.runtime.bindings import transformed_filters


@dataclass(frozen=True, eq=False)
class TransformedFilters:
    """Filters in Winograd's domain, float32: an array for NumPy, whose elements are there while it is asked.

    `filters` gives the filters, [..., r, r], whenever it is called: they are small where they are made of a
    graph's weights, and stay there. `matrix` is G, [n, r]; `shape` is [n, n, ...], as many elements of each
    of the n * n positions as there are filters.
    """

    filters: Callable[[], NDArray[np.float32]]
    matrix: tuple[tuple[float, ...], ...]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(np.float32).itemsize

    def array(self) -> NDArray[np.float32]:
        """The array, made anew."""
        return transformed_filters(self.filters(), np.array(self.matrix)).reshape(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.array() if dtype is None else self.array().astype(dtype, copy=False)
