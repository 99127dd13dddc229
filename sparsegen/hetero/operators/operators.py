"""Operators: what a scheduler places, with the values that each reads and gives. Pure data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparsegen.errors import ModelError
from sparsegen.graph import FLOAT32, ITEM_BYTES, Shape


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


@dataclass(frozen=True)
class Operator:
    """A piece of a model that runs on one device.

    layers: those of the model's graph that it consists of, in order; none for a module that is taken as it
    is. inputs: the values that it reads, in the order in which it takes them; outputs: those that it gives
    to other operators or to the caller, in order. reads: what has to be there before it runs, other operators
    and inputs of the model, in the order in which they are needed first. carries: operators whose results
    for the model's input *before* it needs, as a recurrent cell needs its state.
    """

    name: str
    layers: tuple[str, ...]
    reads: tuple[str, ...]
    inputs: tuple[ValueForm, ...]
    outputs: tuple[ValueForm, ...]
    carries: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of its result: all outputs."""
        return sum(value.bytes for value in self.outputs)
