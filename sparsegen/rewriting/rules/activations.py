"""Activations through simpler ones."""

from __future__ import annotations

from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.rule import rule
from sparsegen.rewriting.site import Site


@rule("hard swish by ReLU6", "hardswish")
def hardswish_by_relu6(site: Site, draft: Draft) -> str:
    """X * relu6(x + 3) / 6."""
    gate = draft.step(draft.step(site.input, "add", 3.0), "relu6")
    return draft.step(draft.step(site.input, "mul", gate), "mul", 1 / 6)


@rule("ReLU6 by ReLUs", "relu6")
def relu6_by_relus(site: Site, draft: Draft) -> str:
    """relu(x) - relu(x - 6)."""
    above = draft.step(draft.step(site.input, "sub", 6.0), "relu")
    return draft.step(draft.step(site.input, "relu"), "sub", above)


@rule("SiLU by sigmoid", "silu")
def silu_by_sigmoid(site: Site, draft: Draft) -> str:
    """X * sigmoid(x)."""
    return draft.step(site.input, "mul", draft.step(site.input, "sigmoid"))
