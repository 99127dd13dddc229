"""LSTMs and GRUs, step by step: slices, linear products, sigmoid and tanh."""

from __future__ import annotations

import numpy as np

from sparsegen.graph import Concat, Linear, Recurrent, Reshape, Slice
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site

_MOST_STEPS = 512


@rule("recurrent network unrolled", "lstm", "gru")
def unrolled(site: Site, draft: Draft) -> str:
    """Every step on its own, in the order of time, and their states one after the other."""
    core = _core(site)
    batch, steps, _ = site.input_shape
    if steps > _MOST_STEPS:
        raise RefusalError(f"its sequence has {steps:,} steps, and may have {_MOST_STEPS}")
    given = _unpadded(site, draft)
    states = [*site.layer.inputs[1:], "", ""]
    hidden, cell = states[:2]
    outputs = [""] * steps
    for at in reversed(range(steps)) if core.reverse else range(steps):
        step = draft.add(Slice(1, at), given, (batch, 1, core.gates * core.hidden)) if steps > 1 else given
        step = draft.add(Reshape(), step, (batch, core.gates * core.hidden))
        if core.kind == "lstm":
            hidden, cell = _lstm_step(core, draft, step, hidden, cell)
        else:
            hidden = _gru_step(core, draft, step, hidden)
            if len(site.layer.inputs) == 1:
                draft.lies_in(hidden, -1.0, 1.0)  # from zero, between fresh states, which tanh gives
        outputs[at] = hidden
    last = [cell] if core.keeps_cell else []
    rows = [draft.add(Reshape(), each, (batch, 1, core.hidden)) for each in (*outputs, *last)]
    return rows[0] if len(rows) == 1 else draft.add(Concat(1), rows, site.shape)


def _core(site: Site) -> Recurrent:
    assert isinstance(site.core, Recurrent)
    return site.core


def _unpadded(site: Site, draft: Draft) -> str:
    """What the steps' inputs add to the gates, [N, T, gates * H]."""
    core = _core(site)
    batch, steps, width = site.input_shape
    padded = width // core.gates
    if padded == core.hidden:
        return site.input
    parts = [
        draft.add(Slice(2, gate * padded), site.input, (batch, steps, core.hidden))
        for gate in range(core.gates)
    ]
    return draft.add(Concat(2), parts, (batch, steps, core.gates * core.hidden))


def _gate(core: Recurrent, draft: Draft, gates: str, number: int) -> str:
    batch, _ = draft.shape(gates)
    return draft.add(Slice(1, number * core.hidden), gates, (batch, core.hidden))


def _lstm_step(core: Recurrent, draft: Draft, given: str, hidden: str, cell: str) -> tuple[str, str]:
    """The states after a step; "" for those before that are zero."""
    gates = given
    if hidden:
        product = draft.add(Linear(core.weight, None), hidden, draft.shape(given))
        gates = draft.step(given, "add", product)
    enter, forget, new, leave = (_gate(core, draft, gates, number) for number in range(4))
    fresh = draft.step(draft.step(enter, "sigmoid"), "mul", draft.step(new, "tanh"))
    if cell:
        fresh = draft.step(draft.step(draft.step(forget, "sigmoid"), "mul", cell), "add", fresh)
    return draft.step(draft.step(leave, "sigmoid"), "mul", draft.step(fresh, "tanh")), fresh


def _gru_step(core: Recurrent, draft: Draft, given: str, hidden: str) -> str:
    """The state after a step: fresh + update * (hidden - fresh)."""
    size = core.hidden
    bias = np.zeros(size, np.float32) if core.bias is None else core.bias
    reset, update, new = (_gate(core, draft, given, number) for number in range(3))
    if not hidden:
        of_state = draft.step(draft.step(reset, "sigmoid"), "mul", draft.constant(bias))
        fresh = draft.step(draft.step(new, "add", of_state) if bias.any() else new, "tanh")
        return draft.step(fresh, "mul", draft.step(draft.step(update, "sigmoid"), "sub", 1.0, reverse=True))
    offset = np.concatenate([np.zeros(2 * size, np.float32), bias]) if bias.any() else None
    own = draft.add(Linear(core.weight, offset), hidden, draft.shape(given))
    own_reset, own_update, own_new = (_gate(core, draft, own, number) for number in range(3))
    reset = draft.step(draft.step(reset, "add", own_reset), "sigmoid")
    fresh = draft.step(draft.step(new, "add", draft.step(reset, "mul", own_new)), "tanh")
    update = draft.step(draft.step(update, "add", own_update), "sigmoid")
    return draft.step(draft.step(draft.step(hidden, "sub", fresh), "mul", update), "add", fresh)
