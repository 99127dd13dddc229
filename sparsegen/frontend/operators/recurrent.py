"""Recurrent networks: the input products of all steps are one linear layer, the recurrence another layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sparsegen.frontend.builder import CallSite, NodeValue, to_array
from sparsegen.frontend.operators.arrangement import reshape_to, slice_of, transpose
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import Array, Concat, Linear, Recurrent
from sparsegen.isa import LONGEST


@operator("aten.lstm.input")
def lstm(
    site: CallSite,
    value: NodeValue,
    states: list[NodeValue],
    parameters: list[NodeValue],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[NodeValue, ...]:
    """The outputs of all steps, and the last hidden and cell states of every layer and direction."""
    network = _Network(site, "lstm", states, parameters, has_biases, layers, 1 + bidirectional)
    return network.add(value, batch_first=batch_first)


@operator("aten.gru.input")
def gru(
    site: CallSite,
    value: NodeValue,
    state: NodeValue,
    parameters: list[NodeValue],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[NodeValue, ...]:
    """The outputs of all steps, and the last state of every layer and direction."""
    network = _Network(site, "gru", [state], parameters, has_biases, layers, 1 + bidirectional)
    return network.add(value, batch_first=batch_first)


@dataclass(frozen=True)
class _Network:
    """A call of torch's: layers of one or two directions, whose `states` are [layers * directions, N, H]."""

    site: CallSite
    kind: Literal["lstm", "gru"]
    states: list[NodeValue]
    parameters: list[NodeValue]
    has_biases: bool
    layers: int
    directions: int

    def add(self, value: NodeValue, *, batch_first: bool) -> tuple[NodeValue, ...]:
        """Add the layers; the outputs, and of each kind of state the last ones of all directions."""
        site = self.site
        if not isinstance(value, str):
            site.refuse("its input is known; a value of the model is supported")
        if len(self.parameters) != self.layers * self.directions * (4 if self.has_biases else 2):
            site.refuse("it has projections (proj_size); states as wide as the outputs are supported")
        value = value if batch_first else transpose(site, value, 0, 1)
        last: list[list[NodeValue]] = []
        for layer in range(self.layers):
            places = range(layer * self.directions, (layer + 1) * self.directions)
            results = [self._direction(value, place) for place in places]
            value = _joined(site, [outputs for outputs, *_ in results], 2)
            last += [states for _, *states in results]
        outputs = value if batch_first else transpose(site, value, 0, 1)
        return outputs, *(_joined(site, each, 0) for each in zip(*last, strict=True))

    def _direction(self, value: NodeValue, place: int) -> list[NodeValue]:
        """One direction of a layer, the `place`-th of all: its outputs, and its last states, [1, N, H]."""
        site, reverse = self.site, place % self.directions == 1
        of_input, of_state, *biases = self._parameters(place)
        states = self._initial(place)
        batch, steps, _ = site.shape_of(value)
        gates, padded = len(of_state) // of_state.shape[1], _padded(of_input, of_state.shape[1])
        core, bias = self._core(of_state, biases, reverse=reverse)
        products = site.layer(
            Linear(padded, bias), value, shape=(batch, steps, gates * (len(padded) // gates))
        )
        hidden = of_state.shape[1]
        result = site.layer(core, products, *states, shape=(batch, steps + core.keeps_cell, hidden))
        last = [0 if reverse else steps - 1, *([steps] if core.keeps_cell else [])]
        ends = [reshape_to(site, slice_of(site, result, 1, at, 1), (1, batch, hidden)) for at in last]
        if self.kind == "lstm" and not core.keeps_cell:  # nothing reads it
            ends.append(ends[0])
        return [slice_of(site, result, 1, 0, steps), *ends]

    def _core(self, of_state: Array, biases: list[Array], *, reverse: bool) -> tuple[Recurrent, Array | None]:
        """The recurrence, and the bias of the input's products: all that is added to the gates.

        A GRU's reset gate multiplies the last part of the state's bias, which stays with the recurrence.
        """
        keeps_cell = self.kind == "lstm" and 2 in self.site.reads
        if not biases:
            return Recurrent(self.kind, of_state, None, reverse, keeps_cell), None
        of_inputs, of_states = biases
        hidden, own = of_state.shape[1], None
        if self.kind == "gru":
            own = of_states[2 * hidden :]
            of_states = np.concatenate([of_states[: 2 * hidden], np.zeros_like(own)])
        return Recurrent(self.kind, of_state, own, reverse, keeps_cell), _padded(
            of_inputs + of_states, hidden
        )

    def _parameters(self, place: int) -> list[Array]:
        """Weights of the input and of the state, and their biases where there are any."""
        each = 4 if self.has_biases else 2
        weights = [self.site.weight(value) for value in self.parameters[place * each : place * each + 2]]
        biases = self.parameters[place * each + 2 : (place + 1) * each]
        return [to_array(value) for value in (*weights, *(self.site.known(bias, "bias") for bias in biases))]

    def _initial(self, place: int) -> list[NodeValue]:
        """The initial states, [N, H]; none where all are zero."""
        if not any(isinstance(state, str) or state.count_nonzero() for state in self.states):
            return []
        own = []
        for state in self.states:
            _, *shape = self.site.shape_of(state)
            one = slice_of(self.site, state, 0, place, 1) if isinstance(state, str) else state[place]
            own.append(reshape_to(self.site, one, tuple(shape)))
        return own


def _padded(array: Array, hidden: int) -> Array:
    """[gates * H, ...] as [gates * padded, ...]: zeros make whole vectors of each gate's features."""
    gates = array.reshape(-1, hidden, *array.shape[1:])
    whole = -(-hidden // LONGEST) * LONGEST
    padding = [(0, 0), (0, whole - hidden), *[(0, 0)] * (array.ndim - 1)]
    return np.ascontiguousarray(np.pad(gates, padding).reshape(-1, *array.shape[1:]))


def _joined(site: CallSite, parts: Sequence[NodeValue], dim: int) -> NodeValue:
    """Values of equal shapes, side by side along a dimension."""
    if len(parts) == 1:
        return parts[0]
    shape = list(site.shape_of(parts[0]))
    shape[dim] *= len(parts)
    return site.layer(Concat(dim), *parts, shape=shape)
