"""Products of two values by squares: x y = a b (p^2 - q^2) and a line, the squares approximated by ReLUs.

x' and y' are x and y, centred and scaled so that their intervals become -1 to 1; p = (x' + y') / 2 and
q = (x' - y') / 2 then lie there, too. The square is either one sum of ReLUs, whose number grows as
1 / sqrt(error); or a sawtooth composed with itself, each time with twice as many teeth (D. Yarotsky, "Error
bounds for approximations with deep ReLU networks", Neural Networks 94, 2017): few ReLUs in several layers,
whose number grows as log(1 / error). The two squares' errors are subtracted, so that a product errs by as
much as they are apart. Beyond the intervals squares go on as lines, and no error holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsegen.graph import Array
from sparsegen.rewriting.draft import Approximation, Draft
from sparsegen.rewriting.fits import relu_sum
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Interval, Site
from sparsegen.rewriting.views import pointwise_conv, reshaped, stacked

_PROVED = "proved: the squares err by so much, and are subtracted"
_MOST_TEETH = 16
_NARROWEST = 1 / 64  # half of an interval, beside its middle, so that float32 does not round weights away
_MOST_PIECES = 1000

Matrix = NDArray[np.float64]


class _Pieces(NamedTuple):
    """A continuous piecewise linear function, and how far it is from what it stands for."""

    knots: tuple[float, ...]
    values: tuple[float, ...]
    slopes: tuple[float, ...]
    error: float


@dataclass(frozen=True)
class _Squares:
    """A product as `scale * (p^2 - q^2) + line[0] * p + line[1] * q + constant`.

    image: of two channels, [1, 2, P, Q]; p and q are `rows` times these, plus `offsets`.
    """

    image: str
    rows: Matrix
    offsets: Matrix
    scale: float
    line: Matrix
    constant: float
    interval: Interval


@rule("product with itself by square", "mul")
def product_by_square(site: Site, draft: Draft) -> str:
    """x^2."""
    if site.operand != site.input:
        raise RefusalError("it is no product of a value with itself")
    return draft.step(site.input, "square")


@rule("product by sums of ReLUs", "mul", kind="approximated")
def product_by_relus(site: Site, draft: Draft) -> str:
    """Each square as a sum of ReLUs: two convolutions with a ReLU between them."""
    square = _square_fit(site, draft)
    squares = _squares(site, draft)
    inner, offsets, outer, constant = list[Matrix](), list[Matrix](), list[Array](), squares.constant
    for side, sign in enumerate((1.0, -1.0)):
        found = relu_sum(square, sign * squares.scale, float(squares.line[side]))
        inner.append(found.inner[:, None] * squares.rows[side])
        offsets.append(found.inner * squares.offsets[side] + found.offsets)
        outer.append(found.outer)
        constant += found.constant
    spread = _layer(draft, squares.image, np.concatenate(inner), np.concatenate(offsets))
    made = pointwise_conv(draft, spread, np.concatenate(outer)[None], np.array([constant], np.float32))
    form = f"2 squares of {len(square.knots)} ReLUs"
    _note(draft, squares, 2 * squares.scale * square.error, form, square)
    return reshaped(draft, made, site.shape)


@rule("product by sawtooth", "mul", kind="approximated")
def product_by_sawtooth(site: Site, draft: Draft) -> str:
    """Each square as |t| less teeth of half the width and a quarter of the height, again and again.

    Channels come in pairs, one for p and one for q; the last pair carries the product's line.
    """
    squares = _squares(site, draft)
    levels = max(1, math.ceil(math.log(squares.scale / draft.max_error, 4)) - 1)
    if levels > _MOST_TEETH:
        raise RefusalError(f"an error of {draft.max_error:.3g} would take {levels} layers of teeth")
    weight, bias = squares.line @ squares.rows, squares.line @ squares.offsets
    folded = np.stack([*squares.rows, *-squares.rows, weight, -weight])
    value = _layer(draft, squares.image, folded, np.array([*squares.offsets, *-squares.offsets, bias, -bias]))
    # |t|, |t| - 1/2, |t| - 1: beyond -1 and 1 the tooth is 0, and the curve goes on as a line.
    value = _pairs(draft, value, [[1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1]], [0, -0.5, -1, 0])
    tooth, curve, line = np.array([2.0, -4, 2, 0]), np.array([1.0, 0, 0, 0]), np.array([0.0, 0, 0, 1])
    for level in range(1, levels):
        value = _pairs(draft, value, [tooth, tooth, curve - tooth / 4**level, line], [0, -0.5, 0, 0])
        tooth, curve = np.array([2.0, -4, 0, 0]), np.array([0.0, 0, 1, 0])
    last = np.kron(squares.scale * (curve - tooth / 4**levels) + line, [[1.0, -1.0]])
    constant = np.array([squares.constant], np.float32)
    made = pointwise_conv(draft, value, last.astype(np.float32), constant)
    _note(draft, squares, squares.scale / 4 ** (levels + 1), f"2 sawtooths of {levels} layers")
    return reshaped(draft, made, site.shape)


def _layer(draft: Draft, value: str, weight: Matrix, bias: Matrix) -> str:
    """The ReLU of a convolution."""
    made = pointwise_conv(draft, value, weight.astype(np.float32), bias.astype(np.float32))
    return draft.step(made, "relu")


def _pairs(draft: Draft, value: str, weight: Sequence[Sequence[float] | Matrix], bias: list[float]) -> str:
    """The ReLU of a convolution that treats both channels of a pair alike."""
    return _layer(draft, value, np.kron(np.array(weight), np.eye(2)), np.repeat(bias, 2))


def _intervals(site: Site) -> tuple[str, Interval, Interval]:
    """The other value, and what both lie in."""
    operand = site.operand
    if not isinstance(operand, str) or operand in site.constants:
        raise RefusalError("one of its operands is constant")
    first, second = site.intervals.get(site.input), site.intervals.get(operand)
    if first is None or second is None:
        raise RefusalError("no calibration tells what both its values are")
    if not all(map(math.isfinite, (*first, *second))):
        raise RefusalError("one of its values may be as large as it likes")
    return operand, first, second


def _middle_and_half(interval: Interval) -> tuple[float, float]:
    """Its middle and half its width, made wider where that is nothing beside the middle."""
    low, high = interval
    middle = (low + high) / 2
    return middle, max((high - low) / 2, _NARROWEST * abs(middle), _NARROWEST)


def _square_fit(site: Site, draft: Draft) -> _Pieces:
    """The best sum of ReLUs for squares of -1 to 1: of equal pieces, as they bend alike everywhere."""
    _, *intervals = _intervals(site)
    halves = math.prod(_middle_and_half(each)[1] for each in intervals)
    pieces = max(2, math.ceil(math.sqrt(halves / draft.max_error)))
    if pieces > _MOST_PIECES:
        raise RefusalError(f"an error of {draft.max_error:.3g} would take 2 squares of {pieces - 1:,} ReLUs")
    ends = np.linspace(-1, 1, pieces + 1)
    knots, error = ends[1:-1], 0.5 / pieces**2
    return _Pieces(tuple(knots), tuple(knots**2 - error), tuple(ends[1:] + ends[:-1]), error)


def _squares(site: Site, draft: Draft) -> _Squares:
    other, *intervals = _intervals(site)
    (x_middle, x_half), (y_middle, y_half) = map(_middle_and_half, intervals)
    image, values = _channels(site, draft, other)
    centred = np.array([[0.5 / x_half, 0.5 / y_half], [0.5 / x_half, -0.5 / y_half]])
    lows, highs = zip(*intervals, strict=True)
    along, across = y_half * x_middle, x_half * y_middle
    return _Squares(
        image,
        rows=centred @ values,
        offsets=-centred @ np.array([x_middle, y_middle]),
        scale=x_half * y_half,
        line=np.array([along + across, across - along]),
        constant=x_middle * y_middle,
        interval=(min(lows), max(highs)),
    )


def _channels(site: Site, draft: Draft, other: str) -> tuple[str, Matrix]:
    """Two channels of the result's shape, and the matrix that makes both values of them.

    A value that is broadcast takes part by a sum or a difference, which broadcasts it.
    """
    full = [name for name in (site.input, other) if draft.shape(name) == site.shape]
    if len(full) == 2:
        return stacked(draft, [site.input, other]), np.eye(2)
    total = draft.step(site.input, "add", other)
    if full:
        rest = np.array([[1.0, 0.0], [-1.0, 1.0]])
        return stacked(draft, [full[0], total]), rest if full[0] == site.input else rest[::-1]
    less = draft.step(site.input, "sub", other)
    return stacked(draft, [total, less]), np.array([[0.5, 0.5], [0.5, -0.5]])


def _note(draft: Draft, squares: _Squares, error: float, form: str, square: _Pieces | None = None) -> None:
    knots, slopes = ((), ()) if square is None else (square.knots, square.slopes)
    draft.approximated(Approximation("product", error, _PROVED, form, squares.interval, knots, slopes))
