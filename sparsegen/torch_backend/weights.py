"""Whether weights are as they were when a graph was compiled: the same tensors, which nobody wrote to."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

_version = operator.attrgetter("_version")
_generation = 0


class WeightState:
    """Weights as they are now: which tensors, where they lie, and how often they were written to.

    Torch counts writes in `_version`: in-place operators, optimisers, `load_state_dict` and whatever else
    goes through the tensor or a view of it. It does not count what goes through `tensor.data` or an array of
    NumPy's on the same memory: `refresh` tells of these.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._generation = _generation
        self._tensors = tuple(map(weakref.ref, weights))
        self._versions = tuple(map(_version, weights))
        self._places = tuple(map(Tensor.data_ptr, weights))

    def holds(self, weights: Sequence[Tensor]) -> bool:
        """Whether these are the same, unchanged."""
        return (
            all(map(operator.is_, weights, map(operator.call, self._tensors)))
            and tuple(map(_version, weights)) == self._versions
            and tuple(map(Tensor.data_ptr, weights)) == self._places
            and self._generation == _generation
        )

    def is_past(self, weights: Sequence[Tensor]) -> bool:
        """Whether no weights can ever be these again, with `weights` as they are now: writes count up."""
        tensors = [reference() for reference in self._tensors]
        if any(tensor is None for tensor in tensors):
            return True
        return all(map(operator.is_, weights, tensors)) and not self.holds(weights)


def uncounted(weights: Sequence[Tensor]) -> str:
    """Why writes to some of the weights could go unnoticed; "" where they cannot."""
    for weight in weights:
        if weight.is_inference():
            return (
                "weights were made in inference mode, where torch counts no writes: clone them outside of it"
            )
        if weight.layout != torch.strided:
            return f"a weight is {weight.layout}: give it as a dense tensor"
    return ""


def refresh() -> None:
    """Look at all weights anew in the next calls: after writes through `tensor.data` or NumPy.

    What is found in the compile cache, by its content, is not compiled again.
    """
    global _generation
    _generation += 1
