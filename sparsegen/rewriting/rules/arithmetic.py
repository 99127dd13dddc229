"""Sums, products, powers and their kin through each other."""

from __future__ import annotations

import math

import numpy as np

from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site

_LARGEST_POWER = 16


@rule("negative by product", "neg")
def negative_by_product(site: Site, draft: Draft) -> str:
    """-1 * x."""
    return draft.step(site.input, "mul", -1.0)


@rule("negative by difference", "neg")
def negative_by_difference(site: Site, draft: Draft) -> str:
    """0 - x."""
    return draft.step(site.input, "sub", 0.0, reverse=True)


@rule("product with -1 by negative", "mul")
def product_by_negative(site: Site, draft: Draft) -> str:
    """-x."""
    if site.operand != -1:
        raise RefusalError("it is no product with -1")
    return draft.step(site.input, "neg")


@rule("difference by sum", "sub")
def difference_by_sum(site: Site, draft: Draft) -> str:
    """Gives a + (-b)."""
    assert site.operand is not None
    if site.reverse:
        return draft.step(draft.step(site.input, "neg"), "add", site.operand)
    return draft.step(site.input, "add", negative_operand(site, draft))


@rule("sum by difference", "add")
def sum_by_difference(site: Site, draft: Draft) -> str:
    """Gives a - (-b)."""
    return draft.step(site.input, "sub", negative_operand(site, draft))


def negative_operand(site: Site, draft: Draft) -> str | float:
    """The operand of the site's step, negated."""
    operand = site.operand
    assert operand is not None
    if not isinstance(operand, str):
        return -operand
    if operand in site.constants:
        return draft.constant(-site.constants[operand])
    return draft.step(operand, "neg")


@rule("square by product", "square")
def square_by_product(site: Site, draft: Draft) -> str:
    """Gives x * x."""
    return draft.step(site.input, "mul", site.input)


@rule("square by power", "square")
def square_by_power(site: Site, draft: Draft) -> str:
    """pow(x, 2)."""
    return draft.step(site.input, "pow", parameters=(2.0,))


@rule("cube by products", "cube")
def cube_by_products(site: Site, draft: Draft) -> str:
    """Gives x^2 * x."""
    return draft.step(draft.step(site.input, "square"), "mul", site.input)


@rule("power by products", "pow")
def power_by_products(site: Site, draft: Draft) -> str:
    """Squares of squares, multiplied where the exponent has a binary digit."""
    (exponent,) = site.parameters
    if exponent not in range(1, _LARGEST_POWER + 1):
        raise RefusalError(f"its exponent is {exponent:g}, and has to be whole, from 1 to {_LARGEST_POWER}")
    found, power, left = "", site.input, int(exponent)
    while True:
        if left & 1:
            found = draft.step(found, "mul", power) if found else power
        left >>= 1
        if not left:
            return found
        power = draft.step(power, "square")


@rule("power by square root", "pow")
def power_by_root(site: Site, draft: Draft) -> str:
    """sqrt(x), times x for an exponent of 3 / 2."""
    (exponent,) = site.parameters
    if exponent not in (0.5, 1.5):
        raise RefusalError(f"its exponent is {exponent:g}, and has to be 0.5 or 1.5")
    root = draft.step(site.input, "sqrt")
    return root if exponent == 0.5 else draft.step(root, "mul", site.input)


@rule("power by reciprocal", "pow")
def power_by_reciprocal(site: Site, draft: Draft) -> str:
    """1 / pow(x, -exponent)."""
    (exponent,) = site.parameters
    if exponent >= 0:
        raise RefusalError(f"its exponent is {exponent:g}, and has to be negative")
    power = site.input if exponent == -1 else draft.step(site.input, "pow", parameters=(-exponent,))
    return draft.step(power, "div", 1.0, reverse=True)


@rule("power by exp and log", "pow")
def power_by_exp(site: Site, draft: Draft) -> str:
    """exp(exponent * log(x)), for values above 0."""
    (exponent,) = site.parameters
    _above_zero(site)
    return draft.step(draft.step(draft.step(site.input, "log"), "mul", exponent), "exp")


@rule("square root by power", "sqrt")
def root_by_power(site: Site, draft: Draft) -> str:
    """pow(x, 0.5)."""
    return draft.step(site.input, "pow", parameters=(0.5,))


@rule("quotient by product", "div")
def quotient_by_product(site: Site, draft: Draft) -> str:
    """Gives x * (1 / c), for a divisor that is constant."""
    divisor = site.known_operand
    if divisor is None or site.reverse:
        raise RefusalError("it divides by a value, which is not constant")
    if not divisor.all():
        raise RefusalError("it divides by 0")
    if not isinstance(site.operand, str):
        return draft.step(site.input, "mul", 1 / float(divisor))
    return draft.step(site.input, "mul", draft.constant((1 / divisor).astype(np.float32)))


@rule("quotient by reciprocal", "div")
def quotient_by_reciprocal(site: Site, draft: Draft) -> str:
    """Gives a * (1 / b), for a divisor that is a value."""
    operand = site.operand
    assert operand is not None
    if site.reverse:
        if operand == 1:
            raise RefusalError("it is a reciprocal itself")
        return draft.step(draft.step(site.input, "div", 1.0, reverse=True), "mul", operand)
    if not isinstance(operand, str) or operand in site.constants:
        raise RefusalError("it divides by a constant")
    return draft.step(site.input, "mul", draft.step(operand, "div", 1.0, reverse=True))


@rule("reciprocal by power", "div")
def reciprocal_by_power(site: Site, draft: Draft) -> str:
    """pow(x, -1)."""
    _reciprocal(site)
    return draft.step(site.input, "pow", parameters=(-1.0,))


@rule("reciprocal by exp and log", "div")
def reciprocal_by_exp(site: Site, draft: Draft) -> str:
    """exp(-log(x)), for values above 0."""
    _reciprocal(site)
    _above_zero(site)
    return draft.step(draft.step(draft.step(site.input, "log"), "neg"), "exp")


def _reciprocal(site: Site) -> None:
    if not (site.reverse and site.operand == 1):
        raise RefusalError("it is no reciprocal")


def _above_zero(site: Site) -> None:
    if site.interval is None:
        raise RefusalError("its values have to be above 0, and no calibration tells what they are")
    if site.interval[0] <= 0:
        raise RefusalError(f"its values have to be above 0, and go down to {site.interval[0]:g}")


@rule("log2 by log", "log2")
def log2_by_log(site: Site, draft: Draft) -> str:
    """log(x) / log(2)."""
    return draft.step(draft.step(site.input, "log"), "mul", 1 / math.log(2))


@rule("log10 by log", "log10")
def log10_by_log(site: Site, draft: Draft) -> str:
    """log(x) / log(10)."""
    return draft.step(draft.step(site.input, "log"), "mul", 1 / math.log(10))


@rule("log1p by log", "log1p")
def log1p_by_log(site: Site, draft: Draft) -> str:
    """log(x + 1): absolutely as exact, relatively not near 0."""
    return draft.step(draft.step(site.input, "add", 1.0), "log")


@rule("log by log2", "log")
def log_by_log2(site: Site, draft: Draft) -> str:
    """log2(x) * log(2)."""
    return draft.step(draft.step(site.input, "log2"), "mul", math.log(2))


@rule("expm1 by exp", "expm1")
def expm1_by_exp(site: Site, draft: Draft) -> str:
    """exp(x) - 1: absolutely as exact, relatively not near 0."""
    return draft.step(draft.step(site.input, "exp"), "sub", 1.0)


@rule("exp by expm1", "exp")
def exp_by_expm1(site: Site, draft: Draft) -> str:
    """expm1(x) + 1."""
    return draft.step(draft.step(site.input, "expm1"), "add", 1.0)


@rule("sine by cosine", "sin")
def sine_by_cosine(site: Site, draft: Draft) -> str:
    """cos(x - pi / 2)."""
    return draft.step(draft.step(site.input, "sub", math.pi / 2), "cos")


@rule("cosine by sine", "cos")
def cosine_by_sine(site: Site, draft: Draft) -> str:
    """sin(x + pi / 2)."""
    return draft.step(draft.step(site.input, "add", math.pi / 2), "sin")


@rule("floor by ceil", "floor")
def floor_by_ceil(site: Site, draft: Draft) -> str:
    """-ceil(-x)."""
    return draft.step(draft.step(draft.step(site.input, "neg"), "ceil"), "neg")


@rule("ceil by floor", "ceil")
def ceil_by_floor(site: Site, draft: Draft) -> str:
    """-floor(-x)."""
    return draft.step(draft.step(draft.step(site.input, "neg"), "floor"), "neg")


@rule("trunc by floor", "trunc")
def trunc_by_floor(site: Site, draft: Draft) -> str:
    """floor(relu(x)) - floor(relu(-x))."""
    above = draft.step(draft.step(site.input, "relu"), "floor")
    below = draft.step(draft.step(draft.step(site.input, "neg"), "relu"), "floor")
    return draft.step(above, "sub", below)


@rule("select by product and sum", "select")
def select_by_product(site: Site, draft: Draft) -> str:
    """Gives x * mask + other * (1 - mask), for a constant mask made 0 or 1."""
    (other,) = site.parameters
    mask = site.known_operand
    if mask is None:
        raise RefusalError("its mask is a value, and has to be constant")
    if not math.isfinite(other):
        raise RefusalError(f"{other:g} stands in place of what is masked, and a product with it is not 0")
    taken = (mask != 0).astype("float32")
    value = draft.step(site.input, "mul", draft.constant(taken))
    return draft.step(value, "add", draft.constant(other * (1 - taken))) if other else value
