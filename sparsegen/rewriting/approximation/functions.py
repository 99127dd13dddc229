"""The functions that have a name: how they bend, where they tend to lines, and what is known of their values.

A proof needs to know where a function is convex and where concave; this table says so. The numbers of
inflections were computed with 60 digits, and a test checks every entry against mpmath.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsegen.errors import RewritingError
from sparsegen.typed import plain_number

CONVEX, LINEAR, CONCAVE = 1, 0, -1
LINE = (-math.inf, math.inf)


class Asymptote(NamedTuple):
    """The line `slope * x + offset` that a function tends to."""

    slope: float
    offset: float


@dataclass(frozen=True)
class Function:
    """A function of one variable, on float64 tensors.

    `bends` says whether it is convex, linear or concave before, between and after its `breaks` (inflections
    and kinks); it is None where that is not known, and then there is no proof. `interval` is what it is
    approximated on unless told otherwise. `jump` is by how much torch's version leaps where it changes its
    formula. `linear_between` are the knots of a function that is piecewise linear itself.
    """

    name: str
    evaluate: Callable[[Tensor], Tensor]
    breaks: tuple[float, ...] = ()
    bends: tuple[int, ...] | None = None
    left: Asymptote | None = None
    right: Asymptote | None = None
    domain: tuple[float, float] = LINE
    interval: tuple[float, float] | None = None
    pole: float | None = None
    jump: float = 0.0
    linear_between: tuple[float, ...] | None = None


_FLAT = Asymptote(0.0, 0.0)
_IDENTITY = Asymptote(1.0, 0.0)
_SILU, _GELU, _GELU_TANH = 2.3993572805154676678, math.sqrt(2), 1.4185040087908283555
_MISH = (-2.25637639636079312, 1.4905711794854284593)


def _step(name: str, evaluate: Callable[[Tensor], Tensor], low: float, high: float) -> Function:
    """A function that rises from `low` to `high`, convex before 0 and concave after."""
    tails = Asymptote(0.0, low), Asymptote(0.0, high)
    return Function(name, evaluate, (0.0,), (CONVEX, CONCAVE), *tails, interval=LINE)


def _gate(name: str, evaluate: Callable[[Tensor], Tensor], low: float, high: float) -> Function:
    """A function that goes from 0 to x, convex between two inflections and concave outside."""
    return Function(name, evaluate, (low, high), (CONCAVE, CONVEX, CONCAVE), _FLAT, _IDENTITY, interval=LINE)


def _softplus(beta: float = 1.0, threshold: float = 20.0) -> Function:
    if beta <= 0:
        raise RewritingError(f"softplus: beta is {beta:g}: give one above 0")
    return Function(
        "softplus",
        lambda x: F.softplus(x, beta, threshold),
        bends=(CONVEX,),
        left=_FLAT,
        right=_IDENTITY,
        interval=LINE,
        jump=math.log1p(math.exp(-threshold)) / beta if threshold > -700 else -threshold / beta,
    )


def _elu(alpha: float = 1.0) -> Function:
    bend = (alpha > 0) - (alpha < 0)
    return Function(
        "elu",
        lambda x: F.elu(x, alpha),
        breaks=(0.0,),
        bends=(bend, LINEAR),
        left=Asymptote(0.0, -alpha),
        right=_IDENTITY,
        interval=LINE,
    )


def _leaky_relu(negative_slope: float = 0.01) -> Function:
    return Function(
        "leaky_relu",
        lambda x: F.leaky_relu(x, negative_slope),
        breaks=(0.0,),
        bends=(LINEAR, LINEAR),
        left=Asymptote(negative_slope, 0.0),
        right=_IDENTITY,
        interval=LINE,
        linear_between=(0.0,),
    )


def _hardsigmoid() -> Function:
    return Function(
        "hardsigmoid",
        F.hardsigmoid,
        breaks=(-3.0, 3.0),
        bends=(LINEAR, LINEAR, LINEAR),
        left=_FLAT,
        right=Asymptote(0.0, 1.0),
        interval=LINE,
        linear_between=(-3.0, 3.0),
    )


def _hardswish() -> Function:
    bends = (LINEAR, CONVEX, LINEAR)
    return Function("hardswish", F.hardswish, (-3.0, 3.0), bends, _FLAT, _IDENTITY, interval=LINE)


def _logarithm(name: str, evaluate: Callable[[Tensor], Tensor], pole: float = 0.0) -> Function:
    return Function(name, evaluate, bends=(CONCAVE,), domain=(pole, math.inf), pole=pole)


def _reciprocal() -> Function:
    bends = (CONCAVE, CONVEX)
    return Function("reciprocal", torch.reciprocal, (0.0,), bends, _FLAT, _FLAT, pole=0.0)


_FUNCTIONS: dict[str, Callable[..., Function]] = {
    "cube": lambda: Function("cube", lambda x: x**3, (0.0,), (CONCAVE, CONVEX)),
    "elu": _elu,
    "erf": lambda: _step("erf", torch.erf, -1.0, 1.0),
    "exp": lambda: Function("exp", torch.exp, bends=(CONVEX,), left=_FLAT, interval=(-math.inf, 0.0)),
    "expm1": lambda: Function(
        "expm1", torch.expm1, bends=(CONVEX,), left=Asymptote(0.0, -1.0), interval=(-math.inf, 0.0)
    ),
    "gelu": lambda: _gate("gelu", F.gelu, -_GELU, _GELU),
    "gelu_tanh": lambda: _gate("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), -_GELU_TANH, _GELU_TANH),
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "leaky_relu": _leaky_relu,
    "log": lambda: _logarithm("log", torch.log),
    "log10": lambda: _logarithm("log10", torch.log10),
    "log1p": lambda: _logarithm("log1p", torch.log1p, -1.0),
    "log2": lambda: _logarithm("log2", torch.log2),
    "log_sigmoid": lambda: Function(
        "log_sigmoid", F.logsigmoid, bends=(CONCAVE,), left=_IDENTITY, right=_FLAT, interval=LINE
    ),
    "mish": lambda: _gate("mish", F.mish, *_MISH),
    "reciprocal": _reciprocal,
    "rsqrt": lambda: Function(
        "rsqrt", torch.rsqrt, bends=(CONVEX,), right=_FLAT, domain=(0.0, math.inf), pole=0.0
    ),
    "sigmoid": lambda: _step("sigmoid", torch.sigmoid, 0.0, 1.0),
    "silu": lambda: _gate("silu", F.silu, -_SILU, _SILU),
    "softplus": _softplus,
    "softsign": lambda: _step("softsign", F.softsign, -1.0, 1.0),
    "sqrt": lambda: Function("sqrt", torch.sqrt, bends=(CONCAVE,), domain=(0.0, math.inf)),
    "square": lambda: Function("square", torch.square, bends=(CONVEX,)),
    "tanh": lambda: _step("tanh", torch.tanh, -1.0, 1.0),
}
NAMES = tuple(sorted(_FUNCTIONS))
"""The functions whose error can be proved."""


def named(name: str, *parameters: float) -> Function:
    """The function of this name, with torch's parameters in torch's order.

    Raises RewritingError for an unknown name, and for parameters that it does not have.
    """
    if name not in _FUNCTIONS:
        raise RewritingError(
            f"no function is named {name!r}: give one of {', '.join(NAMES)}, or a Python function on tensors"
        )
    parameters = plain_number(parameters)
    for each in parameters:
        if isinstance(each, bool) or not isinstance(each, int | float) or not math.isfinite(each):
            raise RewritingError(f"{name}: {each!r} is no parameter: give a finite number")
    make = _FUNCTIONS[name]
    most = make.__code__.co_argcount
    if len(parameters) > most:
        allowed = ", ".join(make.__code__.co_varnames[:most]) or "none"
        raise RewritingError(f"{name}: {len(parameters)} parameters are given; it has {allowed}")
    return make(*parameters)
