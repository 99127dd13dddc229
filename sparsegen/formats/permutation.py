"""Order of a matrix's rows in which those that keep the same columns meet in one panel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def order_rows(matrix: NDArray[np.float32], *, rows: int) -> NDArray[np.intp]:
    """Order the rows of a matrix [out, columns] so that panels of `rows` share columns.

    Greedy: a panel begins with the fullest row that is left, and takes in, one by one, the row that
    shares the most columns with those it has. A loaded input vector then serves more rows.
    """
    return order_by(shared_columns(matrix), rows=rows)


def shared_columns(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns that every two rows of a matrix [out, columns] keep both, [out, out].

    Counted in words of 64 columns: a product of matrices would wake NumPy's threads, which wait busily.
    """
    kept = np.packbits(matrix != 0, axis=1)
    words = np.pad(kept, ((0, 0), (0, -kept.shape[1] % 8))).view(np.uint64)
    shared = np.zeros((len(matrix), len(matrix)), np.float32)
    for word in words.T:
        shared += np.bitwise_count(word[:, None] & word)
    return shared


def order_by(shared: NDArray[np.float32], *, rows: int) -> NDArray[np.intp]:
    """As `order_rows`, of a matrix whose rows share so many columns."""
    left = np.ones(len(shared), np.bool_)
    order: list[int] = []
    for position in range(len(shared)):
        # With no row yet to share with, a row counts by what it keeps itself.
        if position % rows == 0:
            score = shared.diagonal()
        else:
            score = shared[order[-1]] if position % rows == 1 else score + shared[order[-1]]
        chosen = int(np.where(left, score, -1).argmax())
        left[chosen] = False
        order.append(chosen)
    return np.array(order, np.intp)
