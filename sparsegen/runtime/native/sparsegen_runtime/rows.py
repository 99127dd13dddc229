"""Rows of inputs, computed by variants of some batches, in place where they are whole."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sparsegen_runtime.batches import Piece
from sparsegen_runtime.variant import Variant


def results_grow(variants: Mapping[int, Variant]) -> bool:
    """Whether every output of the variants of a family has as many rows as the batch."""
    shapes = {tuple(form.shape[1:] for form in variant.outputs) for variant in variants.values()}
    return len(shapes) == 1 and all(
        form.shape[:1] == (batch,) for batch, variant in variants.items() for form in variant.outputs
    )


def listed(batches: Mapping[int, Variant]) -> str:
    """`1, 4 or 16`."""
    *most, last = map(str, sorted(batches))
    return f"{', '.join(most)} or {last}" if most else last


def run_piece(
    variant: Variant, piece: Piece, batched: Sequence[bool], inputs: list[int], outputs: list[int]
) -> None:
    """Run rows of the inputs into rows of the outputs; where they are fewer than the batch, by copies."""
    count, kept = piece.end - piece.begin, []
    given = []
    for form, address, rows in zip(variant.inputs, inputs, batched, strict=True):
        begin = address + piece.begin * form.row_bytes if rows else address
        if rows and count < piece.batch:
            padded = _padded(begin, count, piece.batch, form.row_bytes)
            kept.append(padded)
            begin = padded.ctypes.data
        given.append(begin)
    to = [
        address + piece.begin * form.row_bytes for form, address in zip(variant.outputs, outputs, strict=True)
    ]
    if count == piece.batch:
        variant.run(given, to)
        return
    made = [np.empty(form.nbytes, np.uint8) for form in variant.outputs]
    variant.run(given, [each.ctypes.data for each in made])
    for form, each, address in zip(variant.outputs, made, to, strict=True):
        _memory(address, count * form.row_bytes)[:] = each[: count * form.row_bytes]


def _padded(address: int, count: int, batch: int, row_bytes: int) -> NDArray[np.uint8]:
    """Rows at an address, the last one as often again as a batch takes."""
    rows = _memory(address, count * row_bytes).reshape(count, row_bytes)
    return np.concatenate([rows, np.repeat(rows[-1:], batch - count, axis=0)])


def _memory(address: int, size: int) -> NDArray[np.uint8]:
    """Bytes at an address, where somebody else keeps them."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
