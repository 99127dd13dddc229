"""Which structure a layer's zeros have, told from its weights alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.formats.column_combined import WINDOW, Group, find_groups, find_ratio
from sparsegen.formats.registry import Array

_VECTORS = (16, 8, 4, 2)  # rows, longest first
_COMBINABLE = 0.4  # density above which groups of columns save too little
_FULL = 0.6  # of a group's places, the share in use that column combining leaves
_RAGGED = 1.5  # times as many weights as the mean row of a window, for the fullest one


@dataclass(frozen=True, eq=False)
class Structure:
    """The structure of a filter matrix's zeros.

    kind: "dense", "empty", "unstructured", "N:M", "vector", "block" or "column-combined". text: the
    same with its sizes, for people. groups: where the weights pack into groups of columns, these.
    """

    kind: str
    text: str
    groups: tuple[Group, ...] = ()


def detect(matrix: Array, *, columns_per_channel: int) -> Structure:
    """The structure of a filter matrix [out, columns], columns numbered channel by channel.

    Of several that hold, the one that a kernel gains most from: vectors and blocks, N:M,
    column-combined.
    """
    kept = matrix != 0
    if not kept.any():
        return Structure("empty", "all zero")
    if kept.all():
        return Structure("dense", "dense")
    rows = _shared(kept, _VECTORS)
    if rows > 1:
        of_channel = kept[::rows].reshape(-1, kept.shape[1] // columns_per_channel, columns_per_channel)
        channels = _shared(of_channel.transpose(1, 0, 2).reshape(of_channel.shape[1], -1), _VECTORS)
        if channels > 1:
            return Structure("block", f"blocks of {rows}x{channels}")
        return Structure("vector", f"vectors of {rows}")
    window = window_of(columns_per_channel)
    ratio = find_ratio(kept, columns_per_channel)
    if ratio is not None:
        window *= -(-ratio[1] * columns_per_channel // window)  # at least M channels
        groups = find_groups(matrix, window=window, columns_per_channel=columns_per_channel)
        return Structure("N:M", f"{ratio[0]}:{ratio[1]}", tuple(groups))
    if kept.mean() <= _COMBINABLE and _even(kept, window):
        groups = find_groups(matrix, window=window)
        if kept.sum() >= _FULL * len(kept) * len(groups):
            mean = kept.shape[1] / len(groups)
            return Structure("column-combined", f"column-combined, groups of {mean:.1f}", tuple(groups))
    return Structure("unstructured", "unstructured")


def window_of(columns_per_channel: int) -> int:
    """Columns of the window that groups form in: the channels a power of two, 144 columns at most."""
    channels = 1 << max(0, (WINDOW // columns_per_channel).bit_length() - 1)
    return channels * columns_per_channel


def _shared(kept: NDArray[np.bool_], lengths: tuple[int, ...]) -> int:
    """The largest of `lengths` for which aligned runs of that many rows keep the same; 1 for none."""
    for length in lengths:
        whole = len(kept) // length * length
        runs = kept[:whole].reshape(-1, length, kept.shape[1])
        if whole and (runs == runs[:, :1]).all() and (kept[whole:] == kept[whole : whole + 1]).all():
            return length
    return 1


def _even(kept: NDArray[np.bool_], window: int) -> bool:
    """Whether rows keep about equally much of a window: without that, groups cannot be full."""
    counts = np.add.reduceat(kept, np.arange(0, kept.shape[1], window), axis=1, dtype=np.int64)
    return bool(counts.max(axis=0).sum() <= _RAGGED * kept.sum() / len(kept))
