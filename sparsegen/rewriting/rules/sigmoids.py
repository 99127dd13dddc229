"""Smooth activations through each other, exp and log."""

from __future__ import annotations

import math

from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site

CUBE_IN_TANH_FORM = 0.044715  # of x^3 beside x, in GELU's tanh form
_SURE_THRESHOLD = 16.0  # exp(-16) is what float32 rounds away beside 1


@rule("SiLU by sigmoid", "silu")
def silu_by_sigmoid(site: Site, draft: Draft) -> str:
    """Gives x * sigmoid(x)."""
    return draft.step(site.input, "mul", draft.step(site.input, "sigmoid"))


@rule("sigmoid by tanh", "sigmoid")
def sigmoid_by_tanh(site: Site, draft: Draft) -> str:
    """(tanh(x / 2) + 1) / 2."""
    curve = draft.step(draft.step(site.input, "mul", 0.5), "tanh")
    return draft.step(draft.step(curve, "mul", 0.5), "add", 0.5)


@rule("sigmoid by exp", "sigmoid")
def sigmoid_by_exp(site: Site, draft: Draft) -> str:
    """1 / (exp(-x) + 1)."""
    above = draft.step(draft.step(draft.step(site.input, "neg"), "exp"), "add", 1.0)
    return draft.step(above, "div", 1.0, reverse=True)


@rule("tanh by sigmoid", "tanh")
def tanh_by_sigmoid(site: Site, draft: Draft) -> str:
    """2 * sigmoid(2 x) - 1."""
    curve = draft.step(draft.step(site.input, "mul", 2.0), "sigmoid")
    return draft.step(draft.step(curve, "mul", 2.0), "sub", 1.0)


@rule("GELU by erf", "gelu")
def gelu_by_erf(site: Site, draft: Draft) -> str:
    """Gives x * (erf(x / sqrt(2)) + 1) / 2."""
    curve = draft.step(draft.step(site.input, "mul", math.sqrt(0.5)), "erf")
    return draft.step(site.input, "mul", draft.step(draft.step(curve, "mul", 0.5), "add", 0.5))


@rule("GELU's tanh form by tanh", "gelu_tanh")
def gelu_tanh_by_tanh(site: Site, draft: Draft) -> str:
    """Gives x * (tanh(sqrt(2 / pi) * (x + 0.044715 x^3)) + 1) / 2."""
    curve = draft.step(_inner(site, draft), "tanh")
    return draft.step(site.input, "mul", draft.step(draft.step(curve, "mul", 0.5), "add", 0.5))


@rule("GELU's tanh form by sigmoid", "gelu_tanh")
def gelu_tanh_by_sigmoid(site: Site, draft: Draft) -> str:
    """Gives x * sigmoid(2 sqrt(2 / pi) * (x + 0.044715 x^3))."""
    return draft.step(site.input, "mul", draft.step(draft.step(_inner(site, draft), "mul", 2.0), "sigmoid"))


def _inner(site: Site, draft: Draft) -> str:
    """sqrt(2 / pi) * x * (1 + 0.044715 x^2)."""
    scale = math.sqrt(2 / math.pi)
    return odd_cubic(site, draft, scale, CUBE_IN_TANH_FORM * scale)


def odd_cubic(site: Site, draft: Draft, slope: float, of_cube: float) -> str:
    """`slope * x + of_cube * x^3`."""
    factor = draft.step(draft.step(draft.step(site.input, "square"), "mul", of_cube), "add", slope)
    return draft.step(site.input, "mul", factor)


@rule("Mish by tanh and softplus", "mish")
def mish_by_tanh(site: Site, draft: Draft) -> str:
    """Gives x * tanh(softplus(x))."""
    curve = draft.step(draft.step(site.input, "softplus", parameters=(1.0, 20.0)), "tanh")
    return draft.step(site.input, "mul", curve)


@rule("softplus by exp and log", "softplus")
def softplus_by_exp(site: Site, draft: Draft) -> str:
    """relu(x) + log(1 + exp(-beta |x|)) / beta, which no value overflows."""
    beta = _beta(site)
    curve = draft.step(draft.step(draft.step(site.input, "abs"), "mul", -beta), "exp")
    curve = draft.step(draft.step(curve, "add", 1.0), "log")
    curve = curve if beta == 1 else draft.step(curve, "mul", 1 / beta)
    return draft.step(draft.step(site.input, "relu"), "add", curve)


@rule("softplus by log sigmoid", "softplus")
def softplus_by_log_sigmoid(site: Site, draft: Draft) -> str:
    """-log_sigmoid(-beta x) / beta."""
    beta = _beta(site)
    return draft.step(draft.step(draft.step(site.input, "mul", -beta), "log_sigmoid"), "mul", -1 / beta)


@rule("log sigmoid by softplus", "log_sigmoid")
def log_sigmoid_by_softplus(site: Site, draft: Draft) -> str:
    """-softplus(-x)."""
    return draft.step(draft.step(draft.step(site.input, "neg"), "softplus", parameters=(1.0, 20.0)), "neg")


def _beta(site: Site) -> float:
    beta, threshold = site.parameters
    if threshold < _SURE_THRESHOLD or beta <= 0:
        raise RefusalError(
            f"its beta is {beta:g} and its threshold {threshold:g}, where it jumps by more than rounding"
        )
    return beta


@rule("softsign by absolute value", "softsign")
def softsign_by_absolute(site: Site, draft: Draft) -> str:
    """Gives x / (|x| + 1)."""
    return draft.step(site.input, "div", draft.step(draft.step(site.input, "abs"), "add", 1.0))
