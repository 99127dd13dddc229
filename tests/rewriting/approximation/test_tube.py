"""The shortest path through gates against all ways to share the gates out among lines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from sparsegen.rewriting.approximation.tube import End, Path, Tube, shortest_path
from tests.sampling import examples


def fits(tube: Tube, firsts: tuple[int, ...], downwards: tuple[bool, ...]) -> bool:
    """Whether lines pass the gates that begin at these, each crossing the one before in the given sense."""
    count = len(firsts)
    rows, right = [], []

    def add(line: int, slope: float, offset: float, most: float) -> None:
        row = np.zeros(2 * count)
        row[2 * line : 2 * line + 2] = slope, offset
        rows.append(row)
        right.append(most)

    for line, (first, last) in enumerate(itertools.pairwise((*firsts, len(tube.x)))):
        for gate in range(first, last):
            add(line, tube.x[gate], 1, tube.high[gate] + 1e-9)
            add(line, -tube.x[gate], -1, 1e-9 - tube.low[gate])
    for line, (first, down) in enumerate(zip(firsts[1:], downwards, strict=True)):
        for gate, sign in ((first - 1, 1), (first, -1)):
            row = np.zeros(2 * count)
            row[2 * line : 2 * line + 4] = np.array([-tube.x[gate], -1, tube.x[gate], 1]) * sign
            rows.append(row if down else -row)
            right.append(1e-9)
    fixed = [(0, tube.left), (count - 1, tube.right)]
    bounds = [(None, None)] * (2 * count)
    for line, end in fixed:
        if end is not None:
            if bounds[2 * line] not in ((None, None), (end.slope, end.slope)):
                return False
            bounds[2 * line] = (end.slope, end.slope)
            add(line, 0, 1, end.high)
            add(line, 0, -1, -end.low)
    found = linprog(np.zeros(2 * count), A_ub=np.array(rows), b_ub=right, bounds=bounds, method="highs")
    return bool(found.status == 0)


def exhaustive(tube: Tube, most: int) -> int:
    """The fewest lines, by trying all; one more than `most` where that is too few."""
    for count in range(1, most + 1):
        for inner in itertools.combinations(range(1, len(tube.x)), count - 1):
            for senses in itertools.product((False, True), repeat=count - 1):
                if fits(tube, (0, *inner), senses):
                    return count
    return most + 1


def gates(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = draw(st.integers(3, 6))
    steps = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    middle = draw(st.lists(st.integers(-8, 8), min_size=count, max_size=count))
    width = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    y, half = np.array(middle, dtype=float), np.array(width) / 2 + 0.013
    return np.cumsum(steps).astype(float), y - half, y + half


@st.composite
def tubes(draw: st.DrawFn) -> Tube:
    return Tube(*gates(draw), walls=False)


@examples(16, soak=500)
@given(tubes())
def test_as_few_lines_as_an_exhaustive_search_finds(tube: Tube) -> None:
    fewest = exhaustive(tube, 3)
    path = shortest_path(tube, 3)
    assert (4 if path is None else len(path.lines)) == fewest


@examples(40)
@given(tubes())
def test_walls_never_save_a_line_and_the_path_stays_in_the_tube(tube: Tube) -> None:
    free = shortest_path(tube, 10)
    walled = shortest_path(Tube(tube.x, tube.low, tube.high), 10)
    assert free is not None
    assert walled is not None
    assert len(free.lines) <= len(walled.lines)
    for gate, x in enumerate(tube.x):
        y = height(walled, x)
        assert tube.low[gate] - 1e-9 <= y <= tube.high[gate] + 1e-9


def height(path: Path, x: float) -> float:
    """A path at a place: on the line between whose crossings with its neighbours the place is."""
    for line, after, (start, end) in zip(path.lines, path.lines[1:], path.windows, strict=False):
        turn = line.slope - after.slope
        at = end if turn == 0 else line.x + (after.at(line.x) - line.y) / turn
        if x <= min(max(at, start), end):
            return line.at(x)
    return path.lines[-1].at(x)


@pytest.mark.parametrize(("width", "lines"), [(1.01, 1), (0.99, 3)])
def test_lines_of_fixed_slope_at_both_ends(width: float, lines: int) -> None:
    x = np.linspace(-10, 10, 201)
    y = np.clip(x, -1, 1)
    tube = Tube(x, y - width, y + width, End(0, -1 - width, -1 + width), End(0, 1 - width, 1 + width))
    path = shortest_path(tube, 5)
    assert path is not None
    assert len(path.lines) == lines
    assert path.lines[0].slope == path.lines[-1].slope == 0


def test_too_many_lines_are_none() -> None:
    x = np.arange(6.0)
    y = np.array([0.0, 5, 0, 5, 0, 5])
    assert shortest_path(Tube(x, y - 0.1, y + 0.1), 4) is None
    path = shortest_path(Tube(x, y - 0.1, y + 0.1), 5)
    assert path is not None
    assert len(path.lines) == 5
