"""Dear functions of epilogues become piecewise linear ones, where a caller allows the error and it pays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from sparsegen.errors import OptionError, RewritingError
from sparsegen.graph import ApproximatedStep, LayerGraph, Piecewise, Step
from sparsegen.kernels.step_costs import EXACT_CYCLES, piecewise_cycles
from sparsegen.options import Approximate
from sparsegen.rewriting.approximation import PiecewiseLinear, approximate
from sparsegen.rewriting.approximation.search import MOST_KNOTS

_PAYS = 0.9
"""Greatest share of the exact function's cycles that a piecewise linear one may take: both are estimates."""

_FEW = 8
"""Knots of the approximation from which the number for an error is estimated."""

_DOUBT = 1.5
"""What the estimate may be above the truth."""

_SYMMETRIES: Mapping[str, Literal["even", "odd"]] = {
    **dict.fromkeys(("gelu", "gelu_tanh", "hardswish", "log_sigmoid", "silu", "softplus"), "even"),
    **dict.fromkeys(("erf", "sigmoid", "softsign", "tanh"), "odd"),
}
"""Functions that are a line and an even function, or a constant and an odd one with level tails."""

_CENTRES = {"sigmoid": 0.5}
"""What an odd one passes at 0, if it is not 0."""


@dataclass(frozen=True)
class _Scaled:
    """`factor * f(scale * x)` of a named function f with its parameters."""

    function: tuple[str | float, ...]
    factor: float = 1.0
    scale: float = 1.0


def approximate_steps(graph: LayerGraph, allowed: Approximate) -> LayerGraph:
    """The graph with steps approximated to within the error that is allowed for their functions.

    A step of a function that may be approximated tells in `approximated` what became of it. The graph itself
    stays as it is, and None allows nothing: it is returned then.

    Raises OptionError for an error that takes more than 1,000 knots.
    """
    if allowed is None:
        return graph
    errors = allowed if isinstance(allowed, Mapping) else dict.fromkeys(EXACT_CYCLES, allowed)
    layers = [
        replace(layer, epilogue=tuple(_step(step, errors.get(step.op)) for step in layer.epilogue))
        for layer in graph.layers
    ]
    return replace(graph, layers=layers)


def _step(step: Step, error: float | None) -> Step:
    if error is None:
        return step
    function, told = _approximated(step.op, step.parameters, float(error))
    if function is None:
        return replace(step, approximated=told)
    return Step("piecewise", parameters=function.parameters, approximated=told)


@lru_cache(maxsize=256)
def _approximated(
    op: str, parameters: tuple[float, ...], error: float
) -> tuple[Piecewise | None, ApproximatedStep]:
    """What stands in for a step's function, None where that stays exact; and why."""
    try:
        about = _about_knots(op, parameters, error)
        if about > _DOUBT * _most_knots(op):
            return _exact(op, _too_dear(op, about))
        function, told = fit_step(op, parameters, error)
    except RewritingError as refused:
        return _exact(op, str(refused))
    return (function, told) if _pays(op, function) else _exact(op, _too_dear(op, told.knots))


@lru_cache(maxsize=256)
def fit_step(op: str, parameters: tuple[float, ...], error: float) -> tuple[Piecewise, ApproximatedStep]:
    """What stands in for a step's function within an error, whatever it costs.

    Raises RewritingError where there is no such function.
    """
    scaled = _named(op, parameters)
    factor = abs(scaled.factor)
    fit = approximate(scaled.function, max_error=error / factor)
    function, reached = _mirrored(fit, op)
    if reached > error / factor:
        function, reached = _as_piecewise(fit), fit.error
    return _rescaled(function, scaled), ApproximatedStep(op, len(fit.knots), reached * factor, fit.shown)


def _exact(op: str, why: str) -> tuple[None, ApproximatedStep]:
    return None, ApproximatedStep(op, 0, 0.0, why)


def _named(op: str, parameters: tuple[float, ...]) -> _Scaled:
    """The step's function by a name that `approximate` knows; RewritingError where it has none."""
    if op != "elu":
        return _Scaled((op, *parameters))
    alpha, scale, input_scale = parameters
    if input_scale <= 0 or scale == 0:
        raise RewritingError(f"nothing is known of its form with the parameters {parameters}")
    return _Scaled(("elu", alpha * input_scale), scale / input_scale, input_scale)


def _about_knots(op: str, parameters: tuple[float, ...], error: float) -> int:
    """About how many knots an error takes: it falls as their number's square.

    Raises OptionError for more than 1,000.
    """
    scaled = _named(op, parameters)
    few = approximate(scaled.function, knots=_FEW)
    needed = math.ceil(len(few.knots) * math.sqrt(few.error * abs(scaled.factor) / error))
    if needed > MOST_KNOTS:
        raise OptionError(
            f"approximate: an error of {error:g} takes about {needed:,} knots of {op}: allow more, for "
            f"{MOST_KNOTS:,} knots are the most"
        )
    return needed


@lru_cache(maxsize=64)
def _most_knots(op: str) -> int:
    """The most knots that pay in place of a function, with its symmetry."""
    symmetry = _SYMMETRIES.get(op)
    knots = 0
    while knots < MOST_KNOTS and _pays(op, _sample(knots + 1, symmetry)):
        knots += 1
    return knots


def _sample(knots: int, symmetry: str | None) -> Piecewise:
    """Some function of as many knots and such a symmetry, with one tail of slope 0."""
    places = tuple(number - (knots - 1) / 2 for number in range(knots))
    if symmetry is None:
        places = tuple(place if place < 0 else 2 * place + 1 for place in places)
    bends = [1.0 for _ in places] if symmetry != "odd" else [math.copysign(1.0, place) for place in places]
    if symmetry == "odd" and knots % 2:
        bends[knots // 2] = 0.0
    return Piecewise(0.0, 0.0, places, tuple(bends))


def _pays(op: str, function: Piecewise) -> bool:
    return piecewise_cycles(function) <= _PAYS * EXACT_CYCLES[op]


def _too_dear(op: str, knots: int) -> str:
    """Why a function stays exact that would take about so many knots."""
    cycles = piecewise_cycles(_sample(knots, _SYMMETRIES.get(op)))
    return f"it takes {EXACT_CYCLES[op]:.0f} cycles a vector, {knots} knots would take {cycles:.0f}"


def _as_piecewise(fit: PiecewiseLinear) -> Piecewise:
    constant, slope, terms = fit.as_relus()
    return Piecewise(constant, slope, tuple(knot for knot, _ in terms), tuple(bend for _, bend in terms))


def _mirrored(fit: PiecewiseLinear, op: str) -> tuple[Piecewise, float]:
    """The approximation right of 0 and its image left of it, with the error that this has.

    Where the function is symmetric, the image errs by as much as what it is the image of. An odd one has to
    pass the function's value at 0: the piece there is turned for that, and errs by as much more at most.
    """
    function = _as_piecewise(fit)
    positive = [(knot, bend) for knot, bend in zip(function.knots, function.bends, strict=True) if knot > 0]
    if _SYMMETRIES.get(op) is None or not positive:
        return function, fit.error
    outer, last = function.slopes[0], function.slopes[-1]
    end, error = function.knots[-1], fit.error + fit.function.jump
    if _SYMMETRIES[op] == "even":
        middle = 2 * function.slopes[-1 - len(positive)] - outer - last  # the bend at 0
        centre = [(0.0, middle)] if middle else []
        mirrored = [*((-knot, bend) for knot, bend in reversed(positive)), *centre, *positive]
        constant = function(end) - last * end
    else:
        off = function(0.0) - _CENTRES.get(op, 0.0)
        (knot, bend), *others = positive
        positive, error = [(knot, bend - off / knot), *others], error + abs(off)
        mirrored = [*((-knot, -bend) for knot, bend in reversed(positive)), *positive]
        constant = 2 * _CENTRES.get(op, 0.0) - function(end)
    knots, bends = zip(*mirrored, strict=True)
    return Piecewise(constant, outer, knots, bends), error


def _rescaled(function: Piecewise, scaled: _Scaled) -> Piecewise:
    """`factor * function(scale * x)`."""
    factor, scale = scaled.factor, scaled.scale
    return Piecewise(
        function.constant * factor,
        function.slope * factor * scale,
        tuple(knot / scale for knot in function.knots),
        tuple(bend * factor * scale for bend in function.bends),
    )
