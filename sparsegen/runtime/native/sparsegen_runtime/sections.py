"""The sections of a file as Python reads them, for what no function of C gives."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_runtime.errors import ProgramError

_LENGTH = struct.Struct("<Q")
SCHEMA = "1"


class Sections:
    """A file of `docs/artefact.md`, mapped: its manifest, checked, and the bytes of sections by their names.

    Raises ProgramError for a file that cannot be read, or is none. What C has opened, it has checked.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # an empty file cannot be mapped
            raise self._wrong(f"the file cannot be opened ({error})") from error
        try:
            (length,) = _LENGTH.unpack_from(self._map)
            self._data = _LENGTH.size + length
            self._header = json.loads(self._map[_LENGTH.size : self._data])
            texts = self._header["__metadata__"]
            written = texts["manifest"]
            self.manifest: dict[str, Any] = json.loads(written)
            self._sums = self.manifest["sha256"]
            schema, wanted = texts["schema"], texts["manifest_sha256"]
        except (struct.error, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise self._wrong("this is no file that sparsegen wrote, or it is damaged") from error
        if schema != SCHEMA:
            raise self._wrong(f"the file has schema {schema!r}, and this version reads {SCHEMA}")
        if hashlib.sha256(written.encode()).hexdigest() != wanted:
            raise self._wrong("the file is damaged: its manifest is not what its checksum says")

    @property
    def names(self) -> list[str]:
        """Those of all sections."""
        return list(self._sums)

    def bytes_of(self, name: str, *, check: bool = False) -> NDArray[np.uint8]:
        """A section, as it lies in the file; with `check` its sum is looked at.

        Raises ProgramError where there is none, and where the sum is another.
        """
        try:
            begin, end = self._header[name]["data_offsets"]
            if not 0 <= begin <= end <= len(self._map) - self._data:
                raise ValueError("outside of the file")
            content = np.frombuffer(self._map, np.uint8, end - begin, self._data + begin)
        except (LookupError, TypeError, ValueError) as error:
            raise self._wrong(f"the file is damaged: it has no section {name!r}") from error
        if check and hashlib.sha256(content.data).hexdigest() != self._sums.get(name):
            raise self._wrong(f"the file is damaged: section {name!r} is not what its checksum says")
        return content

    def _wrong(self, what: str) -> ProgramError:
        return ProgramError(f"{self.path}: {what}; give one that sparsegen wrote, or write it again")
