"""The sections of a file, each of which is there once, and where they lie."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PAGE, LINE = 4096, 64
"""Bytes that large sections, and all others, begin at a multiple of."""

STORED_TYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}
"""The types of safetensors, by NumPy's and torch's names; elements of others are stored as bytes."""


@dataclass(frozen=True, eq=False)
class Section:
    """A tensor of the file: its name, its type as safetensors has it, its shape, its bytes and their sum."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: NDArray[np.uint8]
    sha256: str

    @property
    def alignment(self) -> int:
        """What it begins at a multiple of."""
        return PAGE if self.data.nbytes >= PAGE else LINE


class Sections:
    """The sections of a file as they are found: those of the same type and bytes are one.

    Their bytes are views of what was added, which must not change before they are written.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Section] = {}
        self._numbers = Counter[str]()

    def __iter__(self) -> Iterator[Section]:
        return iter(self._found.values())

    def add(self, folder: str, data: NDArray[np.generic], dtype: str, shape: tuple[int, ...]) -> Section:
        """The section of contiguous elements: `folder/N` where there is none of them yet.

        dtype: NumPy's or torch's name of their type.
        """
        content = data.reshape(-1).view(np.uint8)
        stored = STORED_TYPES.get(dtype, "U8")
        key = stored, hashlib.sha256(content.data).hexdigest()
        if key not in self._found:
            name = f"{folder}/{self._numbers[folder]}"
            self._numbers[folder] += 1
            shape = shape if dtype in STORED_TYPES else (content.nbytes,)
            self._found[key] = Section(name, stored, shape, content, key[1])
        return self._found[key]

    def add_bytes(self, folder: str, content: bytes) -> Section:
        """The section of some bytes."""
        return self.add(folder, np.frombuffer(content, np.uint8), "uint8", (len(content),))

    def laid_out(self) -> Iterator[tuple[int, Section]]:
        """Every section with the offset that it begins at, and pads between them: large ones come first."""
        end, pads = 0, 0
        for section in sorted(self, key=lambda section: -section.alignment):
            if gap := -end % section.alignment:
                yield end, _pad(pads, gap)
                end, pads = end + gap, pads + 1
            yield end, section
            end += section.data.nbytes


def _pad(number: int, size: int) -> Section:
    zeros = np.zeros(size, np.uint8)
    return Section(f"pad/{number}", "U8", zeros.shape, zeros, "")
