"""Weights that are there several times: the steps of a loop that is unrolled have theirs in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sparsegen.graph import Array, LayerGraph
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.operators.work import biases_of, kernels_of

_SAMPLE = 16  # elements that arrays are told apart by, most of them


class Distinct:
    """Arrays that were given, each content once: a graph has copies, so that it matters what is in them."""

    def __init__(self) -> None:
        self._known: dict[object, list[Array]] = {}

    def new(self, arrays: Iterable[Array]) -> Iterator[Array]:
        """Those that were not given before."""
        for array in arrays:
            key = array.shape, str(array.dtype), array.reshape(-1)[:_SAMPLE].tobytes()
            alike = self._known.setdefault(key, [])
            if not any(each is array or np.array_equal(each, array) for each in alike):
                alike.append(array)
                yield array


def weight_bytes(graph: LayerGraph, operators: Sequence[Operator]) -> dict[str, int]:
    """Bytes of each operator's weights and constants, by name; what several share counts for the first.

    So a device that runs all of them keeps it once; where they are on several devices, the first's alone
    counts it.
    """
    layers = {layer.name: layer for layer in graph.layers}
    known, found = Distinct(), {}
    for each in operators:
        mine = [layers[name] for name in each.layers]
        arrays = [array for layer in mine for array in (*kernels_of(layer.core), *biases_of(layer.core))]
        constants = dict.fromkeys(name for layer in mine for name in layer.reads() if name in graph.constants)
        arrays += [graph.constants[name] for name in constants]
        found[each.name] = sum(array.nbytes for array in known.new(arrays))
    return found
