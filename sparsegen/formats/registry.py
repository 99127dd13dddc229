"""Formats by name, and what each tells of the weights that it packed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Index = NDArray[np.int32]
P = ParamSpec("P")


@dataclass(frozen=True)
class Statistics:
    """How a packed matrix lies.

    bytes: size of all its arrays. masks: different patterns of kept rows, each with code of its own.
    rows_per_vector: mean rows that a loaded input vector serves. padding: share of the stored values
    that are no weights of the matrix, but zeros multiplied for the sake of regular loops.
    """

    bytes: int
    masks: int
    rows_per_vector: float
    padding: float


class PackedWeights(Protocol):
    """A matrix [out, columns] in a format. `unpack` gives back every value exactly."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""

    @property
    def panels(self) -> int:
        """Panels of rows."""

    def unpack(self) -> Array:
        """The weight matrix [out, columns] again."""

    def statistics(self) -> Statistics:
        """How the weights lie."""


FORMATS: dict[str, Callable[..., PackedWeights]] = {}
"""Pack function by format: `pack(matrix, *, rows, block, multiple)`, see the formats' own files."""

Packed = TypeVar("Packed", bound=PackedWeights)


def weight_format(name: str) -> Callable[[Callable[P, Packed]], Callable[P, Packed]]:
    """Register the decorated pack function as that of format `name`."""

    def register(pack: Callable[P, Packed]) -> Callable[P, Packed]:
        FORMATS[name] = pack
        return pack

    return register
