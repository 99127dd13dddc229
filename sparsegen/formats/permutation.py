"""Order of a matrix's rows in which those that keep the same columns meet in one panel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def order_rows(matrix: NDArray[np.float32], *, rows: int) -> NDArray[np.intp]:
    """Order the rows of a matrix [out, columns] so that panels of `rows` share columns.

    Greedy: a panel begins with the fullest row that is left, and takes in, one by one, the row that
    shares the most columns with those it has. A loaded input vector then serves more rows.
    """
    kept = (matrix != 0).astype(np.float32)
    shared = kept @ kept.T
    left = np.ones(len(kept), np.bool_)
    order: list[int] = []
    for position in range(len(kept)):
        # With no row yet to share with, a row counts by what it keeps itself.
        panel = order[position - position % rows :]
        score = shared[panel].sum(axis=0) if panel else shared.diagonal()
        chosen = int(np.where(left, score, -1).argmax())
        left[chosen] = False
        order.append(chosen)
    return np.array(order, np.intp)
