"""Piecewise linear activations through simpler ones, and elu."""

from __future__ import annotations

import math

from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site


@rule("hard swish by ReLU6", "hardswish")
def hardswish_by_relu6(site: Site, draft: Draft) -> str:
    """Gives x * relu6(x + 3) / 6."""
    gate = draft.step(draft.step(site.input, "add", 3.0), "relu6")
    return draft.step(draft.step(site.input, "mul", gate), "mul", 1 / 6)


@rule("hard swish by hard sigmoid", "hardswish")
def hardswish_by_hardsigmoid(site: Site, draft: Draft) -> str:
    """Gives x * hardsigmoid(x)."""
    return draft.step(site.input, "mul", draft.step(site.input, "hardsigmoid"))


@rule("hard sigmoid by ReLU6", "hardsigmoid")
def hardsigmoid_by_relu6(site: Site, draft: Draft) -> str:
    """relu6(x + 3) / 6."""
    return draft.step(draft.step(draft.step(site.input, "add", 3.0), "relu6"), "mul", 1 / 6)


@rule("ReLU6 by ReLUs", "relu6")
def relu6_by_relus(site: Site, draft: Draft) -> str:
    """6 - relu(6 - relu(x)): exactly 6 above 6, however large x is."""
    below = draft.step(draft.step(site.input, "relu"), "sub", 6.0, reverse=True)
    return draft.step(draft.step(below, "relu"), "sub", 6.0, reverse=True)


@rule("ReLU6 by clamp", "relu6")
def relu6_by_clamp(site: Site, draft: Draft) -> str:
    """clamp(x, 0, 6)."""
    return draft.step(site.input, "clamp", parameters=(0.0, 6.0))


@rule("ReLU by clamp", "relu")
def relu_by_clamp(site: Site, draft: Draft) -> str:
    """clamp(x, 0, inf)."""
    return draft.step(site.input, "clamp", parameters=(0.0, math.inf))


@rule("clamp by ReLUs", "clamp")
def clamp_by_relus(site: Site, draft: Draft) -> str:
    """Gives high - relu(high - low - relu(x - low)), or the half of it that bounds."""
    low, high = _bounds(site)
    value = site.input
    if math.isfinite(low):
        value = draft.step(draft.step(value, "sub", low) if low else value, "relu")
        if not math.isfinite(high):
            return draft.step(value, "add", low) if low else value
        high_left = high - low
    else:
        high_left = high
    if math.isfinite(high):
        below = draft.step(draft.step(value, "sub", high_left, reverse=True), "relu")
        value = draft.step(below, "sub", high, reverse=True)
    return value


@rule("clamp by ReLU6", "clamp")
def clamp_by_relu6(site: Site, draft: Draft) -> str:
    """A ReLU6 of the value, shifted and scaled so that its bounds are 0 and 6, and back."""
    low, high = _bounds(site)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise RefusalError(f"it has to be bounded on both sides, and is by {low:g} and {high:g}")
    scale = (high - low) / 6
    value = draft.step(site.input, "sub", low) if low else site.input
    value = draft.step(value if scale == 1 else draft.step(value, "mul", 1 / scale), "relu6")
    value = value if scale == 1 else draft.step(value, "mul", scale)
    return draft.step(value, "add", low) if low else value


@rule("clamp by maximum and minimum", "clamp")
def clamp_by_extremes(site: Site, draft: Draft) -> str:
    """min(max(x, low), high)."""
    low, high = site.parameters
    value = site.input if low == -math.inf else draft.step(site.input, "maximum", low)
    return value if high == math.inf else draft.step(value, "minimum", high)


@rule("leaky ReLU by ReLUs", "leaky_relu")
def leaky_relu_by_relus(site: Site, draft: Draft) -> str:
    """relu(x) - slope * relu(-x)."""
    below = draft.step(draft.step(site.input, "neg"), "relu")
    (slope,) = site.parameters
    return draft.step(draft.step(site.input, "relu"), "sub", draft.step(below, "mul", slope))


@rule("leaky ReLU by PReLU", "leaky_relu")
def leaky_relu_by_prelu(site: Site, draft: Draft) -> str:
    """PReLU of one slope."""
    (slope,) = site.parameters
    return draft.step(site.input, "prelu", slope)


@rule("leaky ReLU by maximum", "leaky_relu")
def leaky_relu_by_maximum(site: Site, draft: Draft) -> str:
    """max(x, slope * x), for slopes from 0 to 1."""
    (slope,) = site.parameters
    if not 0 <= slope <= 1:
        raise RefusalError(f"its slope is {slope:g}, and has to be from 0 to 1")
    return draft.step(site.input, "maximum", draft.step(site.input, "mul", slope))


@rule("PReLU by ReLUs", "prelu")
def prelu_by_relus(site: Site, draft: Draft) -> str:
    """relu(x) - slope * relu(-x)."""
    below = draft.step(draft.step(site.input, "neg"), "relu")
    scaled = draft.step(below, "mul", site.operand)
    return draft.step(draft.step(site.input, "relu"), "sub", scaled)


@rule("ELU by exp", "elu")
def elu_by_exp(site: Site, draft: Draft) -> str:
    """Gives scale * (relu(x) + alpha * (exp(input scale * min(x, 0)) - 1))."""
    alpha, scale, input_scale = site.parameters
    below = draft.step(draft.step(draft.step(site.input, "neg"), "relu"), "mul", -input_scale)
    curve = draft.step(draft.step(below, "exp"), "sub", 1.0)
    sides = draft.step(draft.step(site.input, "relu"), "add", draft.step(curve, "mul", alpha))
    return sides if scale == 1 else draft.step(sides, "mul", scale)


@rule("soft shrink by ReLUs", "softshrink")
def softshrink_by_relus(site: Site, draft: Draft) -> str:
    """relu(x - bound) - relu(-x - bound)."""
    (bound,) = site.parameters
    above = draft.step(draft.step(site.input, "sub", bound), "relu")
    below = draft.step(draft.step(site.input, "sub", -bound, reverse=True), "relu")
    return draft.step(above, "sub", below)


@rule("hard shrink by soft shrink and sign", "hardshrink")
def hardshrink_by_sign(site: Site, draft: Draft) -> str:
    """Gives s + bound * sign(s), s the soft shrink: it jumps, so that ReLUs alone cannot give it."""
    (bound,) = site.parameters
    if bound == 0:
        return site.input
    shrunk = draft.step(site.input, "softshrink", parameters=(bound,))
    return draft.step(shrunk, "add", draft.step(draft.step(shrunk, "sign"), "mul", bound))


@rule("threshold by ReLU", "threshold")
def threshold_by_relu(site: Site, draft: Draft) -> str:
    """relu(x - bound) + bound, where that is what stands below the bound."""
    bound, other = site.parameters
    if bound != other:
        raise RefusalError(f"it jumps at {bound:g}, from {other:g}, and ReLUs do not jump")
    if bound == 0:
        return draft.step(site.input, "relu")
    return draft.step(draft.step(draft.step(site.input, "sub", bound), "relu"), "add", bound)


@rule("threshold by ReLU and sign", "threshold")
def threshold_by_sign(site: Site, draft: Draft) -> str:
    """Gives r + (bound - other) * sign(r) + other, r being relu(x - bound)."""
    bound, other = site.parameters
    above = draft.step(draft.step(site.input, "sub", bound), "relu")
    jump = draft.step(draft.step(above, "sign"), "mul", bound - other)
    return draft.step(draft.step(above, "add", jump), "add", other)


def _bounds(site: Site) -> tuple[float, float]:
    low, high = site.parameters
    if low > high:
        raise RefusalError(f"its lower bound, {low:g}, is above its upper one, {high:g}")
    return low, high
