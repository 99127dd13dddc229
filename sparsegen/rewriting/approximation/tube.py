"""The fewest lines through a row of gates: the geometry of the tube f - e .. f + e.

A gate is a place x that a path has to pass between `low` and `high`; walls join the bounds of neighbouring
gates by straight lines. The links of a path are lines, and the path is found as Imai and Iri (1986), Suri
(1986) and Guibas, Hershberger, Mitchell and Snoeyink (1993) do: each link goes as far as any can.

Why that is optimal. Let a link end because all its lines pass too high at the next gate, or else mirror it.
Let L be the lowest of them there. L rests on the lower bound of a gate q. Every path with as many links is
on or above L from q on, so one that goes further crosses L downwards, with one more link, after q and before
L hits the upper wall. Above L nothing binds that link but the lower bounds from q on, and below L no upper
bound before the wall that was hit: so it is bound by the lower bounds from q and the upper ones from there,
and by nothing else. At minus and plus infinity a gate bounds the offset of a line whose slope is fixed.

Without walls (`walls=False`) a path may turn anywhere between two gates. Whatever is within e of f passes
such gates, so what takes too many links there takes as many in the whole tube: a bound from below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Line(NamedTuple):
    """A line through a point."""

    slope: float
    x: float
    y: float

    def at(self, x: float) -> float:
        """Its height at a place."""
        return self.y + self.slope * (x - self.x)


class End(NamedTuple):
    """A gate at infinity: the slope of a line there, and between which offsets `y - slope * x` it passes."""

    slope: float
    low: float
    high: float


@dataclass(frozen=True)
class Tube:
    """Gates from left to right, and those at infinity where the path goes on to there."""

    x: Array
    low: Array
    high: Array
    left: End | None = None
    right: End | None = None
    walls: bool = True


class Bound(NamedTuple):
    """From where on bounds bind a link: a point of a wall, if any, and the gates from `gate` on."""

    gate: int
    point: tuple[float, float] | None = None


class Reach(NamedTuple):
    """How far a link gets: its last line, the gate that it misses, and where it rests.

    `line` is the one that comes nearest to the gate missed, which is None where it passes all; it passes
    `above` or below that gate, rests on the gate `touch`, and hits the wall at `end`.
    """

    line: Line
    missed: int | None = None
    above: bool = False
    touch: int = 0
    end: float = math.inf


@dataclass(frozen=True)
class Path:
    """Lines from left to right; each meets the next one within the `windows` between them."""

    lines: tuple[Line, ...]
    windows: tuple[tuple[float, float], ...]


def shortest_path(tube: Tube, most: int) -> Path | None:
    """The path with the fewest lines through all gates, or None where that takes more than `most`."""
    scan = _Scan(tube)
    closing = None if tube.right is None else _Closing(tube, tube.right)
    lines: list[Line] = []
    windows: list[tuple[float, float]] = []
    low = high = Bound(0)
    while len(lines) < most:
        left = None if lines else tube.left
        if closing and (left is None or left.slope == closing.slope):
            last = closing.line(low, high, left)
            if last is not None:
                return Path((*lines, last), tuple(windows))
        reach = scan.free(low, high) if left is None else scan.along(left)
        lines.append(reach.line)
        if reach.missed is None:
            return Path(tuple(lines), tuple(windows))
        windows.append((float(tube.x[reach.touch]), reach.end))
        hit = (reach.end, reach.line.at(reach.end)) if tube.walls and reach.missed < len(tube.x) else None
        rest, wall = Bound(reach.touch), Bound(reach.missed, hit)
        low, high = (rest, wall) if reach.above else (wall, rest)
    return None


class _Closing:
    """Lines of the slope at plus infinity that pass all gates from some on."""

    def __init__(self, tube: Tube, end: End) -> None:
        self.slope = end.slope
        offsets_low = np.append(tube.low - end.slope * tube.x, end.low)
        offsets_high = np.append(tube.high - end.slope * tube.x, end.high)
        self._least = np.maximum.accumulate(offsets_low[::-1])[::-1]
        self._most = np.minimum.accumulate(offsets_high[::-1])[::-1]

    def line(self, low: Bound, high: Bound, left: End | None) -> Line | None:
        """The one in the middle of those that pass within these bounds; None where none does."""
        least, most = float(self._least[low.gate]), float(self._most[high.gate])
        if low.point is not None:
            least = max(least, low.point[1] - self.slope * low.point[0])
        if high.point is not None:
            most = min(most, high.point[1] - self.slope * high.point[0])
        if left is not None:
            least, most = max(least, left.low), min(most, left.high)
        return Line(self.slope, 0.0, (least + most) / 2) if least <= most else None


class _Scan:
    """How far lines get, in one walk over the gates that they pass.

    The steepest line so far rests on a lower bound at the left and on an upper one at the right, the flattest
    one on the mirror of it. Each new gate turns them; where they rest at the left is on the convex hull of
    the bounds, along which they only move to the right. So a walk takes time linear in the gates.
    """

    def __init__(self, tube: Tube) -> None:
        self._tube = tube
        self._x, self._low, self._high = tube.x.tolist(), tube.low.tolist(), tube.high.tolist()

    def along(self, end: End) -> Reach:
        """How far the lines get that come from minus infinity at the slope of this end."""
        tube = self._tube
        low, high = tube.low - end.slope * tube.x, tube.high - end.slope * tube.x
        least = np.maximum(np.maximum.accumulate(low), end.low)
        most = np.minimum(np.minimum.accumulate(high), end.high)
        missed = int(np.argmax(least > most))
        if least[missed] > most[missed]:
            above = bool(high[missed] < least[missed - 1])
        elif tube.right is None:
            return Reach(Line(end.slope, 0.0, float(least[-1] + most[-1]) / 2))
        else:
            missed, above = len(tube.x), end.slope > tube.right.slope
        touch = int(np.argmax(low[:missed]) if above else np.argmin(high[:missed]))
        offset = max(float(low[touch]), end.low) if above else min(float(high[touch]), end.high)
        return self._missed(Line(end.slope, 0.0, offset), missed, above, touch)

    def free(self, low: Bound, high: Bound) -> Reach:
        """How far a line gets that is above the lower bounds and below the upper ones."""
        x, lows, highs = self._x, self._low, self._high
        floor, ceiling = _Hull(1.0), _Hull(-1.0)
        for gate in range(low.gate, high.gate):
            floor.add(x[gate], lows[gate])
        for gate in range(high.gate, low.gate):
            ceiling.add(x[gate], highs[gate])
        steepest = flattest = None
        if high.point is not None:
            if floor.starts_before(high.point[0]):
                steepest = Line(floor.tangent(*high.point), *high.point)
            ceiling.add(*high.point)
        if low.point is not None:
            if ceiling.starts_before(low.point[0]):
                flattest = Line(ceiling.tangent(*low.point), *low.point)
            floor.add(*low.point)
        return self._walk(max(low.gate, high.gate), floor, ceiling, steepest, flattest)

    def _walk(
        self, start: int, floor: _Hull, ceiling: _Hull, steepest: Line | None, flattest: Line | None
    ) -> Reach:
        """How far lines get above and below hulls, from a gate on, from where both kinds of bounds bind.

        Searches spend nearly all their time here: so lines are three numbers each, and what hulls do is
        written out: fi and ci are their `first`, fn and cn the numbers of their points.
        """
        x, lows, highs = self._x, self._low, self._high
        up, up_x, up_y = steepest or (0.0, 0.0, math.inf)
        down, down_x, down_y = flattest or (0.0, 0.0, -math.inf)
        rests_high = rests_low = 0
        fx, fy, fi, fn = floor.x, floor.y, floor.first, len(floor.x)
        cx, cy, ci, cn = ceiling.x, ceiling.y, ceiling.first, len(ceiling.x)
        for gate in range(start, len(x)):
            at, least, most = x[gate], lows[gate], highs[gate]
            top, bottom = up_y + up * (at - up_x), down_y + down * (at - down_x)
            if top < least:
                return self._missed(Line(up, up_x, up_y), gate, False, rests_high)
            if bottom > most:
                return self._missed(Line(down, down_x, down_y), gate, True, rests_low)
            if top > most and fn and fx[fi] < at:
                up, up_x, up_y, rests_high = (most - fy[fi]) / (at - fx[fi]), at, most, gate
                while fi + 1 < fn and fx[fi + 1] < at:
                    slope = (most - fy[fi + 1]) / (at - fx[fi + 1])
                    if slope > up:
                        break
                    fi, up = fi + 1, slope
            if bottom < least and cn and cx[ci] < at:
                down, down_x, down_y, rests_low = (least - cy[ci]) / (at - cx[ci]), at, least, gate
                while ci + 1 < cn and cx[ci + 1] < at:
                    slope = (least - cy[ci + 1]) / (at - cx[ci + 1])
                    if slope < down:
                        break
                    ci, down = ci + 1, slope
            while fn - fi > 1:
                ax, ay = fx[-2], fy[-2]
                if (fy[-1] - ay) * (at - ax) > (least - ay) * (fx[-1] - ax):
                    break
                fx.pop()
                fy.pop()
                fn -= 1
            fx.append(at)
            fy.append(least)
            fn += 1
            while cn - ci > 1:
                ax, ay = cx[-2], cy[-2]
                if (cy[-1] - ay) * (at - ax) < (most - ay) * (cx[-1] - ax):
                    break
                cx.pop()
                cy.pop()
                cn -= 1
            cx.append(at)
            cy.append(most)
            cn += 1
        return self._past_all(
            None if math.isinf(up_y) else Line(up, up_x, up_y),
            None if math.isinf(down_y) else Line(down, down_x, down_y),
            rests_high,
            rests_low,
        )

    def _past_all(
        self, steepest: Line | None, flattest: Line | None, rests_high: int, rests_low: int
    ) -> Reach:
        """What is left where lines pass all gates: to take the slope that they have to have at infinity."""
        x, end = self._x, self._tube.right
        if steepest is None or flattest is None:
            return Reach(Line(0.0, x[-1], (self._low[-1] + self._high[-1]) / 2))
        if end is None:
            return Reach(_between(steepest, flattest, x[0], x[-1]))
        if flattest.slope > end.slope:
            return self._missed(flattest, len(x), True, rests_low)
        return self._missed(steepest, len(x), False, rests_high)

    def _missed(self, line: Line, gate: int, above: bool, touch: int) -> Reach:
        """A line that misses a gate, which may be the one at infinity, and where it hits the wall."""
        x = self._x
        if gate == len(x):
            return Reach(line, gate, above, touch, x[-1])
        if not self._tube.walls:
            return Reach(line, gate, above, touch, x[gate])
        wall = self._high if above else self._low
        before, after = wall[gate - 1] - line.at(x[gate - 1]), wall[gate] - line.at(x[gate])
        share = 0.0 if before == after else min(max(before / (before - after), 0.0), 1.0)
        end = max(x[gate - 1] + share * (x[gate] - x[gate - 1]), x[touch])
        return Reach(line, gate, above, touch, end)


class _Hull:
    """The upper hull of points (side 1) or the lower one (-1), from where a tangent last touched it on."""

    def __init__(self, side: float) -> None:
        self._side = side
        self.x: list[float] = []
        self.y: list[float] = []
        self.first = 0

    def add(self, x: float, y: float) -> None:
        """Add a point to the right of all others."""
        last = len(self.x) - 1
        while last > self.first:
            ax, ay, bx, by = self.x[last - 1], self.y[last - 1], self.x[last], self.y[last]
            if ((by - ay) * (x - ax) - (y - ay) * (bx - ax)) * self._side > 0:
                break
            del self.x[last], self.y[last]
            last -= 1
        self.x.append(x)
        self.y.append(y)

    def starts_before(self, x: float) -> bool:
        """Whether there is a point to the left of a place, so that a tangent has a slope."""
        return bool(self.x) and self.x[self.first] < x

    def tangent(self, at: float, height: float) -> float:
        """The slope of the line from the hull, on its outside, to a point at the right of it."""
        xs, ys, place, side = self.x, self.y, self.first, self._side
        slope = (height - ys[place]) / (at - xs[place])
        for next_one in range(place + 1, len(xs)):
            x = xs[next_one]
            if x >= at:
                break
            further = (height - ys[next_one]) / (at - x)
            if (further - slope) * side > 0:
                break
            place, slope = next_one, further
        self.first = place
        return slope


def _between(one: Line, other: Line, start: float, end: float) -> Line:
    """The line midway between two."""
    left, right = (one.at(start) + other.at(start)) / 2, (one.at(end) + other.at(end)) / 2
    return Line((one.slope + other.slope) / 2, end, right) if end > start else Line(0.0, start, left)
