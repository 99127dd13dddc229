"""Where the tube is looked at: gates that stand the closer, the more a function bends.

A straight piece of length h errs by about h^2 |f''| / 8, so pieces of equal error cover equal shares of the
integral of sqrt(|f''|). Gates stand at equal shares of it too: some hundred for each link of the path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from sparsegen.rewriting.approximation.functions import Asymptote, Function
from sparsegen.rewriting.approximation.tube import Array, End, Tube
from sparsegen.rewriting.approximation.weights import Weights

_PER_LINK, _PER_LINK_OF_MANY, _MANY = 96, 40, 64
_EVEN = 8192
"""Points at equal distances that a function's curvature is taken from."""
_TOWARDS = 1024
"""Points ever closer to an end, where a function may become infinitely steep."""
_CLOSE = 1e-12
_CLOSEST, _BESIDE_POLE = 1e-300, 1e-3
_NEAR, _THERE = 0.02, 1e-10
"""Distances from the asymptote, of the greatest, at which a function is near it, and on it."""
_FAR = 1e3
"""Times the length in which a function bends: what goes on further may as well go on to infinity."""
_SPREAD = 0.2
"""The share of gates that stand evenly over the points, for what the curvature does not show."""


def evaluate(function: Function, x: Array) -> Array:
    """The function at all points, in float64."""
    with torch.no_grad():
        return np.asarray(function.evaluate(torch.from_numpy(x)).to(torch.float64).numpy())


@dataclass(frozen=True)
class Survey:
    """A function at many points of its interval, with the integral of sqrt(|f''| * weight) up to each point.

    Where the interval is infinite the points end where the function has reached its asymptote.
    """

    function: Function
    interval: tuple[float, float]
    x: Array
    y: Array
    bending: Array
    weights: Weights | None = None

    @property
    def scale(self) -> float:
        """By how much the function departs from a constant, or 1 where it is one."""
        return float(np.ptp(self.y)) or 1.0

    def estimate(self, knots: int) -> float:
        """About what the error of so many knots is."""
        return float((self.bending[-1] / (knots + 1)) ** 2 / 16)

    def gates(self, knots: int, per_link: int | None = None) -> Array:
        """Places of gates for a path with so many knots, the ends and the function's breaks among them."""
        count = (per_link or (_PER_LINK if knots <= _MANY else _PER_LINK_OF_MANY)) * (knots + 1)
        share = self.bending / (self.bending[-1] or 1.0)
        even = np.linspace(0.0, 1.0, len(self.x))
        mixed = (1 - _SPREAD) * share + _SPREAD * even
        inner = np.interp(np.linspace(0.0, mixed[-1], count), mixed, self.x)
        low, high = self.x[0], self.x[-1]
        breaks = [each for each in self.function.breaks if low < each < high]
        return np.unique(np.concatenate((inner, breaks, (low, high))))


class Gates:
    """The function at gates, from which tubes of any width are made."""

    def __init__(self, survey: Survey, x: Array) -> None:
        function = survey.function
        self._x, self._weights = x, survey.weights
        y = evaluate(function, x)
        self._top, self._bottom = y.copy(), y.copy()
        self._left = function.left if math.isinf(survey.interval[0]) else None
        self._right = function.right if math.isinf(survey.interval[1]) else None
        # At the outermost gates the function is as good as its asymptote: one gate stands for both.
        for asymptote, gate in ((self._left, 0), (self._right, -1)):
            if asymptote is not None:
                line = asymptote.slope * x[gate] + asymptote.offset
                self._top[gate], self._bottom[gate] = max(y[gate], line), min(y[gate], line)
        self._width = np.ones_like(x) if self._weights is None else 1 / self._weights.at(x)

    def tube(self, error: float, *, walls: bool = True) -> Tube:
        """The gates that functions within `error` pass, with walls between them or without."""
        width = error * self._width
        return Tube(
            self._x,
            self._top - width,
            self._bottom + width,
            _end(self._left, width[0]),
            _end(self._right, width[-1]),
            walls,
        )


def _end(asymptote: Asymptote | None, width: float) -> End | None:
    if asymptote is None:
        return None
    return End(asymptote.slope, asymptote.offset - float(width), asymptote.offset + float(width))


def survey(
    function: Function, interval: tuple[float, float], x: Array, y: Array, weights: Weights | None = None
) -> Survey:
    """What a function's values at many points of an interval tell of how it bends."""
    slopes = np.diff(y) / np.diff(x)
    turns = np.abs(np.diff(slopes)) * (x[2:] - x[:-2]) / 2
    if weights is not None:
        turns *= weights.at(x[1:-1])
    bending = np.concatenate(((0.0,), np.cumsum(np.sqrt(turns))))
    return Survey(function, interval, x, y, np.append(bending, bending[-1]), weights)


def points(function: Function, interval: tuple[float, float]) -> Array:
    """Many places of an interval: even where the function bends, closer at finite ends, wider beyond.

    Where it bends is between where it is near its asymptotes, however long the interval is.
    """
    (left, right), ends = _near(function, interval), _there(function, interval)
    far_left, far_right = (
        end if math.isfinite(end) else there for end, there in zip(interval, ends, strict=True)
    )
    closer = (right - left) / 2 * np.geomspace(_closest(function, left, right), 1.0, _TOWARDS)
    wider = np.geomspace(_CLOSE, 1.0, _TOWARDS)
    x = np.concatenate(
        (
            np.linspace(left, right, _EVEN),
            left + closer,
            right - closer,
            left + (far_left - left) * wider,
            right + (far_right - right) * wider,
        )
    )
    return np.unique(np.clip(x, far_left, far_right))


def settled(function: Function, interval: tuple[float, float]) -> tuple[float, float]:
    """The interval, an end at infinity in place of one very far along an asymptote.

    What holds on the whole line holds there, too. A last line that is free to depart from the asymptote could
    gain no more than about 1 / _FAR by it; and float64 has no room for an error beside numbers of that size.
    """
    (low, high), (left, right) = interval, _there(function, interval)
    far = _FAR * (right - left)
    return (
        -math.inf if function.left is not None and left - low >= far else low,
        math.inf if function.right is not None and high - right >= far else high,
    )


def _near(function: Function, interval: tuple[float, float]) -> tuple[float, float]:
    """The part of an interval in which the function is not near its asymptotes."""
    low, high = interval
    left = low if function.left is None else max(low, _tail(function, -1, high)[0])
    right = high if function.right is None else min(high, _tail(function, 1, low)[0])
    return left, right


def _there(function: Function, interval: tuple[float, float]) -> tuple[float, float]:
    """The part of an interval in which the function is not on its asymptotes."""
    low, high = interval
    left = low if function.left is None else max(low, _tail(function, -1, high)[1])
    right = high if function.right is None else min(high, _tail(function, 1, low)[1])
    return left, right


def _closest(function: Function, left: float, right: float) -> float:
    """How close to the ends points come, of half the distance between them: well within that of a pole."""
    if function.pole is None:
        return _CLOSE
    distance = min(abs(left - function.pole), abs(right - function.pole))
    return float(min(_CLOSE, max(distance * _BESIDE_POLE / (right - left), _CLOSEST)))


def _tail(function: Function, side: int, other_end: float) -> tuple[float, float]:
    """Where a function is near its asymptote at minus (side -1) or plus infinity (1), and on it.

    It is looked for from its outermost break on, or from the other end where that is further out.
    """
    asymptote = function.left if side < 0 else function.right
    assert asymptote is not None
    outermost = max((side * each for each in function.breaks), default=0.0)
    x = side * max(outermost, side * other_end) + side * np.exp2(np.arange(-30.0, 81.0))
    distance = np.abs(evaluate(function, x) - (asymptote.slope * x + asymptote.offset))
    outside = np.maximum.accumulate(distance[::-1])[::-1]
    scale = min(1.0, outside[0])  # what is huge elsewhere would be near too soon for small errors
    near, there = (int(np.argmax(outside <= share * scale)) for share in (_NEAR, _THERE))
    return float(x[near]), float(x[there] if outside[there] <= _THERE * scale else x[-1])
