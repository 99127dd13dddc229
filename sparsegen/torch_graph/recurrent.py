"""LSTMs and GRUs as torch computes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from sparsegen.graph import Array, Linear, Recurrent


def recurrent_network(core: Recurrent, products: Linear, device: torch.device) -> Callable[..., Tensor]:
    """Torch's own network for a recurrence and the linear layer whose products it reads.

    A function of the linear layer's input [N, T, features], and of the initial states where there are any.
    """
    hidden, inputs = core.hidden, products.weight.shape[1]
    kind, dtype = (nn.LSTM if core.kind == "lstm" else nn.GRU), torch.from_numpy(core.weight).dtype
    network: nn.RNNBase = kind(inputs, hidden, batch_first=True, dtype=dtype)
    of_state = np.zeros(len(core.weight), core.weight.dtype)
    if core.bias is not None:
        of_state[2 * hidden :] = core.bias
    of_input = np.zeros_like(of_state) if products.bias is None else _unpadded(products.bias, core)
    values = (_unpadded(products.weight, core), core.weight, of_input, of_state)
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    network.requires_grad_(False).to(device)

    def run(x: Tensor, *states: Tensor) -> Tensor:
        initial = tuple(state.unsqueeze(0) for state in states)
        given = (initial if core.kind == "lstm" else initial[0]) if initial else None
        outputs, last = network(x.flip(1) if core.reverse else x, given)
        outputs = outputs.flip(1) if core.reverse else outputs
        return torch.cat([outputs, last[1].transpose(0, 1)], 1) if core.keeps_cell else outputs

    return run


def recurrence(core: Recurrent, device: torch.device) -> Callable[..., Tensor]:
    """The recurrence alone, step by step: torch has no network that takes its input's products.

    A function of the products [N, T, gates * padded], and of the initial states where there are any.
    """
    weight = torch.from_numpy(core.weight).to(device)
    bias = None if core.bias is None else torch.from_numpy(core.bias).to(device)
    step = _lstm_step if core.kind == "lstm" else _gru_step

    def run(products: Tensor, *states: Tensor) -> Tensor:
        batch, steps, _ = products.shape
        given = products.reshape(batch, steps, core.gates, -1)[..., : core.hidden].flatten(2)
        hidden, cell = (*states, *(products.new_zeros(batch, core.hidden) for _ in range(2 - len(states))))
        outputs = [hidden] * steps
        for at in reversed(range(steps)) if core.reverse else range(steps):
            hidden, cell = step(given[:, at], hidden, cell, weight, bias)
            outputs[at] = hidden
        return torch.stack([*outputs, cell] if core.keeps_cell else outputs, 1)

    return run


def _lstm_step(
    given: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    enter, forget, new, leave = torch.addmm(given, hidden, weight.T).chunk(4, 1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def _gru_step(
    given: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    own = hidden @ weight.T
    (reset, update, new), (own_reset, own_update, own_new) = given.chunk(3, 1), own.chunk(3, 1)
    own_new = own_new if bias is None else own_new + bias
    fresh = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
    return torch.lerp(fresh, hidden, torch.sigmoid(update + own_update)), cell


def _unpadded(array: Array, core: Recurrent) -> Array:
    """[gates * padded, ...] as [gates * H, ...]."""
    gates = array.reshape(core.gates, -1, *array.shape[1:])[:, : core.hidden]
    return np.ascontiguousarray(gates.reshape(-1, *array.shape[1:]))
