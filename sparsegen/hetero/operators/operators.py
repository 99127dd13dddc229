"""Operators: what a scheduler places, with the values that each reads and gives. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

from sparsegen.graph import ValueForm


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
