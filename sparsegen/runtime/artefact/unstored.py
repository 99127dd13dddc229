"""Arrays made again from the forms in which a file stores them, for models that torch takes part in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sparsegen_runtime.decoding import transformed
from sparsegen_runtime.sections import Sections

from sparsegen.graph import ITEM_BYTES


def unstored(entry: Mapping[str, Any], sections: Sections) -> NDArray[np.uint8]:
    """The bytes of an array, row-major, by its entry in a plan.

    Raises ProgramError for a section that is not there, and LookupError, TypeError or ValueError for what
    does not fit together.
    """
    shape, dtype, stored = tuple(entry["shape"]), str(entry["dtype"]), entry["stored"]
    count = int(np.prod(shape, dtype=np.int64))
    (kind, *_) = stored
    content = _READERS[kind](stored, count, sections)
    if content.nbytes != count * ITEM_BYTES[dtype]:
        raise ValueError(f"an array of shape {shape} is stored in {content.nbytes} bytes")
    return content.reshape(-1).view(np.uint8)


def _raw(stored: Mapping[str, Any], count: int, sections: Sections) -> NDArray[Any]:
    return sections.bytes_of(stored["raw"])


def _zeros(stored: Mapping[str, Any], count: int, sections: Sections) -> NDArray[Any]:
    mask = np.unpackbits(sections.bytes_of(stored["mask"]), count=count, bitorder="little").astype(bool)
    array = np.zeros(count, np.float32)
    array[mask] = sections.bytes_of(stored["zeros"]).view(np.float32)
    return array


def _numbers(stored: Mapping[str, Any], name: str, sections: Sections) -> NDArray[np.int64]:
    """Whole numbers above a base, each as it is stored."""
    content = sections.bytes_of(name).view(f"u{int(stored['width'])}")
    return content.astype(np.int64) + int(stored["base"])


def _narrow(stored: Mapping[str, Any], count: int, sections: Sections) -> NDArray[Any]:
    return _numbers(stored, stored["narrow"], sections).astype(np.int32)


def _deltas(stored: Mapping[str, Any], count: int, sections: Sections) -> NDArray[Any]:
    return np.cumsum(_numbers(stored, stored["deltas"], sections)).astype(np.int32)


def _transformed(stored: Mapping[str, Any], count: int, sections: Sections) -> NDArray[Any]:
    matrix = np.array(stored["matrix"], np.float64)
    (n, r), filters = matrix.shape, stored["transformed"]
    entry = {"shape": (count // (n * n), r, r), "dtype": "float32", "stored": filters}
    return transformed(unstored(entry, sections).view(np.float32).reshape(entry["shape"]), matrix)


_READERS: dict[str, Callable[[Mapping[str, Any], int, Sections], NDArray[Any]]] = {
    "raw": _raw,
    "zeros": _zeros,
    "narrow": _narrow,
    "deltas": _deltas,
    "transformed": _transformed,
}
