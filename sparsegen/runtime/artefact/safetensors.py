"""Files of safetensors, their data at a page's beginning."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from sparsegen.runtime.artefact.sections import PAGE, Sections


def write(path: Path, metadata: Mapping[str, str], sections: Sections) -> int:
    """Write a file of sections and texts; returns its bytes. Raises OSError where that fails."""
    placed = list(sections.laid_out())
    header = json.dumps(
        {
            "__metadata__": dict(metadata),
            **{
                each.name: {
                    "dtype": each.dtype,
                    "shape": each.shape,
                    "data_offsets": (begin, begin + each.data.nbytes),
                }
                for begin, each in placed
            },
        },
        separators=(",", ":"),
    ).encode()
    length = struct.calcsize("<Q")
    header += b" " * (-(length + len(header)) % PAGE)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)))
        file.write(header)
        for _, each in placed:
            file.write(each.data.data)
        return file.tell()
