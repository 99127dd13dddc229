"""Arrays from the forms in which a file stores them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sparsegen_runtime.library import library


def transformed(filters: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Filters [..., r, r] in Winograd's domain: [n, n, ...], by a matrix [n, r]; the same bits everywhere.

    Raises ValueError where the matrix is not one of r columns, or too large.
    """
    filters = np.ascontiguousarray(filters, np.float32)
    matrix = np.ascontiguousarray(matrix, np.float64)
    (n, r), (*shape, height, width) = matrix.shape, filters.shape
    made, count = np.empty((n, n, *shape), np.float32), math.prod(shape)
    arguments = (made.ctypes.data, filters.ctypes.data, count, n, r, matrix.ctypes.data, 0, count)
    if (height, width) != (r, r) or library().sparsegen_decode_transformed(*arguments):
        raise ValueError(f"no matrix of shape {matrix.shape} transforms filters of shape {filters.shape}")
    return made
