"""Which structure a layer's zeros have, told from its weights alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.formats.column_combined import WINDOW, Group, find_ratio, ratio_groups, window_groups
from sparsegen.formats.registry import Array

_VECTORS = (16, 8, 4, 2)  # rows, longest first
_FULL = 0.8  # of the places in groups, the share in use that column combining leaves
_COMBINED = 0.5  # density above which a group holds no two columns


@dataclass(frozen=True, eq=False)
class Structure:
    """The structure of a filter matrix's zeros.

    kind: "dense", "empty", "unstructured", "N:M", "vector", "block" or "column-combined". text: the
    same with its sizes, for people. groups: of columns, as column-combined weights have them; none for
    dense ones, vectors and blocks.
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
    ratio = find_ratio(kept, columns_per_channel)
    if ratio is not None:
        n, m = ratio
        groups = ratio_groups(kept.shape[1], n=n, m=m, columns_per_channel=columns_per_channel)
        return Structure("N:M", f"{n}:{m}", tuple(groups))
    groups = window_groups(matrix, window=window_of(columns_per_channel))
    density, places = float(kept.mean()), len(groups) / kept.shape[1]
    if density >= _FULL * places and places <= _COMBINED:
        return Structure("column-combined", f"column-combined, groups of {1 / places:.1f}", tuple(groups))
    return Structure("unstructured", "unstructured", tuple(groups))


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
