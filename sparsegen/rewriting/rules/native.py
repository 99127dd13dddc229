"""Functions by others that many devices have, to within an error that is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsegen.rewriting.draft import Approximation, Draft
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.rules.sigmoids import CUBE_IN_TANH_FORM, odd_cubic
from sparsegen.rewriting.site import Site

GELU_SIGMOID_SCALE = 1.773
GELU_SIGMOID_ERROR = 0.01393
GELU_TANH_ERROR = 4.74e-4
ERF_TANH_ERROR = 3.58e-4
_SHOWN = "verified densely: the largest difference in float64 on a grid from -12 to 12; outside both are flat"


@rule("GELU by sigmoid, approximately", "gelu", "gelu_tanh", kind="approximated")
def gelu_by_sigmoid(site: Site, draft: Draft) -> str:
    """Gives x * sigmoid(1.773 x): the factor of the least error; 1.702, the usual one, errs by 0.0204."""
    error = GELU_SIGMOID_ERROR + (GELU_TANH_ERROR if site.name == "gelu_tanh" else 0.0)
    form = f"x * sigmoid({GELU_SIGMOID_SCALE} x)"
    _note(site, draft, error, form, lambda x: x * torch.sigmoid(GELU_SIGMOID_SCALE * x))
    gate = draft.step(draft.step(site.input, "mul", GELU_SIGMOID_SCALE), "sigmoid")
    return draft.step(site.input, "mul", gate)


@rule("GELU by its tanh form", "gelu", kind="approximated")
def gelu_by_tanh_form(site: Site, draft: Draft) -> str:
    """gelu_tanh(x)."""
    _note(site, draft, GELU_TANH_ERROR, "its tanh form", lambda x: F.gelu(x, approximate="tanh"))
    return draft.step(site.input, "gelu_tanh")


@rule("GELU's tanh form by GELU", "gelu_tanh", kind="approximated")
def tanh_form_by_gelu(site: Site, draft: Draft) -> str:
    """gelu(x)."""
    _note(site, draft, GELU_TANH_ERROR, "GELU by erf", F.gelu)
    return draft.step(site.input, "gelu")


@rule("erf by tanh", "erf", kind="approximated")
def erf_by_tanh(site: Site, draft: Draft) -> str:
    """tanh(2 / sqrt(pi) * (x + 0.08943 x^3)), as GELU's tanh form has it."""
    scale = 2 / math.sqrt(math.pi)
    cubic = 2 * CUBE_IN_TANH_FORM * scale
    form = "tanh(1.1284 x + 0.10091 x^3)"
    _note(site, draft, ERF_TANH_ERROR, form, lambda x: torch.tanh(scale * x + cubic * x**3))
    return draft.step(odd_cubic(site, draft, scale, cubic), "tanh")


def _note(site: Site, draft: Draft, error: float, form: str, curve: Callable[[Tensor], Tensor]) -> None:
    if draft.max_error < error:
        raise RefusalError(f"{form} errs by {error:.3g}, and {draft.max_error:.3g} is allowed")
    draft.approximated(Approximation(site.name, error, _SHOWN, form, curve=curve))
