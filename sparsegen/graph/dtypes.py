"""Types of elements, by torch's names, and their sizes."""

from __future__ import annotations

FLOAT32 = "float32"

ITEM_BYTES = {
    "bool": 1, "uint8": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8,
    "uint64": 8, "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8,
}  # fmt: skip
"""Types of elements that values and programs may hold, and the bytes of each."""
