"""The parts of a result that never change: values and arrays that a file has, whatever the inputs are."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sparsegen_runtime.errors import read_from
from sparsegen_runtime.sections import Sections


class KnownResults:
    """Those of a plan of a file, by their position in the result.

    Raises ProgramError where the plan has them in no way that this version knows.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        self._path = path
        self._sections: Sections | None = None
        with read_from(path):
            self._values = {
                int(place): self._value(value, plan["arrays"]) for place, value in plan["known"].items()
            }

    def __len__(self) -> int:
        return len(self._values)

    def among(self, results: list[Any], as_tensors: bool) -> list[Any]:
        """All results in order, of those that were computed; the caller may write into arrays."""
        if not self._values:
            return results
        others = iter(results)
        return [
            _given(self._values[place], as_tensors) if place in self._values else next(others)
            for place in range(len(results) + len(self._values))
        ]

    def _value(self, written: Any, arrays: Sequence[Mapping[str, Any]]) -> Any:
        if isinstance(written, list):
            return tuple(self._value(each, arrays) for each in written)
        if not isinstance(written, Mapping):
            return written
        ((kind, value),) = written.items()
        if kind == "float":
            return float(value)
        if kind != "weight":
            return _Constant(kind, str(value))
        entry = arrays[value]
        self._sections = self._sections or Sections(self._path)
        content = self._sections.bytes_of(entry["stored"]["raw"])
        dtype, shape = str(entry["dtype"]), tuple(map(int, entry["shape"]))
        held = content.view("uint16" if dtype == "bfloat16" else dtype).reshape(shape)
        return _Array(held, dtype)


@dataclass(frozen=True, eq=False)
class _Array:
    """An array, and torch's name of its type."""

    held: NDArray[Any]
    dtype: str


@dataclass(frozen=True)
class _Constant:
    """A value that torch has a name for, such as the dtype "float32"."""

    kind: str
    name: str


def _given(value: Any, as_tensors: bool) -> Any:
    """A value as a caller gets it: arrays copied, names where torch is not loaded."""
    torch = sys.modules.get("torch")
    if isinstance(value, tuple):
        return tuple(_given(each, as_tensors) for each in value)
    if isinstance(value, _Constant):
        if torch is None:
            return value.name
        return torch.device(value.name) if value.kind == "device" else getattr(torch, value.name)
    if not isinstance(value, _Array):
        return value
    copy = value.held.copy()
    if not as_tensors or torch is None:
        return copy
    return torch.from_numpy(copy).view(getattr(torch, value.dtype))
