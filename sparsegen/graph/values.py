"""The form of a value that passes between operators."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparsegen.errors import ModelError
from sparsegen.graph.cores import Shape
from sparsegen.graph.dtypes import FLOAT32, ITEM_BYTES


@dataclass(frozen=True)
class ValueForm:
    """A plain tensor that passes between operators: its name, shape and type of elements."""

    name: str
    shape: Shape
    dtype: str = FLOAT32

    @property
    def bytes(self) -> int:
        """Of its elements."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    def check_carried(self, source: ValueForm) -> None:
        """Raise ModelError where this, a state, cannot be what `source` was for the input before."""
        if (source.shape, source.dtype) != (self.shape, self.dtype):
            raise ModelError(
                f"state {self.name!r} is {self.dtype} of shape {self.shape}, but {source.name!r}, which it "
                f"is carried from, {source.dtype} of shape {source.shape}"
            )
