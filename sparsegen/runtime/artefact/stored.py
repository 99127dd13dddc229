"""The form in which an array is stored: the smallest that gives the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen.runtime.artefact.sections import Sections
from sparsegen.runtime.transformed import TransformedFilters

Stored = dict[str, Any]
"""How an array is stored, as `docs/artefact.md` writes it."""

_WORTH = 7 / 8
"""The share of an array's bytes that another form may take at most: the raw one is used where it lies."""


def store(array: NDArray[Any], dtype: str, shape: tuple[int, ...], folder: str, sections: Sections) -> Stored:
    """Store a contiguous array of a type, the bytes of one that NumPy lacks, in sections of a folder."""
    if dtype == "float32" and array.size:
        kept = array.reshape(-1).view(np.uint32) != 0  # -0 is no zero
        mask = np.packbits(kept, bitorder="little")
        if np.count_nonzero(kept) * array.itemsize + mask.nbytes <= _WORTH * array.nbytes:
            values = array.reshape(-1)[kept]
            return {
                "zeros": sections.add(folder, values, dtype, values.shape).name,
                "mask": sections.add(folder, mask, "uint8", mask.shape).name,
            }
    if dtype == "int32" and (small := _small_numbers(array)) is not None:
        how, base, numbers = small
        name = sections.add(folder, numbers, numbers.dtype.name, shape).name
        return {how: name, "width": numbers.itemsize, "base": base}
    return {"raw": sections.add(folder, array, dtype, shape).name}


def store_filters(made: TransformedFilters, folder: str, sections: Sections) -> Stored:
    """Store an array in Winograd's domain by its filters."""
    filters = np.ascontiguousarray(made.filters())
    shape = (-1, *filters.shape[-2:])
    filters = filters.reshape(shape)
    stored = store(filters, filters.dtype.name, filters.shape, folder, sections)
    return {"transformed": stored, "matrix": made.matrix}


def _small_numbers(array: NDArray[np.int32]) -> tuple[str, int, NDArray[Any]] | None:
    """Whole numbers, or their differences, as small ones above a base; None where neither are few bytes."""
    if not array.size:
        return None
    flat = array.reshape(-1).astype(np.int64)
    found = []
    for how, numbers in (("narrow", flat), ("deltas", np.diff(flat, prepend=0))):
        base = int(numbers.min())
        span = int(numbers.max()) - base
        if span < 1 << 16 and -(1 << 31) <= base < 1 << 31:
            found.append((how, base, (numbers - base).astype("u1" if span < 1 << 8 else "u2")))
    return min(found, key=lambda each: each[2].itemsize, default=None)
