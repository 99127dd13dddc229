"""The approximations of a rewritten model as a picture."""

from __future__ import annotations

from pathlib import Path

from sparsegen.outputs import save_picture
from sparsegen.rewriting.approximation.functions import named
from sparsegen.rewriting.approximation.picture import Curve, curve_of, draw
from sparsegen.rewriting.draft import Approximation
from sparsegen.rewriting.rewrite import Rewritten

_MOST = 24
"""Approximations on one picture: those of the largest errors."""
_SHOWN = (-6.0, 6.0)
"""Of functions that are approximated by others: outside they are flat, or lines."""


def save_approximations(rewritten: Rewritten, path: Path) -> tuple[Approximation, ...]:
    """Draw every approximation of a function of one value once; the others, which no picture shows.

    Nothing is written where there are only such, products of two values, or none.
    """
    found = [each for site in rewritten.replaced for each in site.approximations]
    curves = dict[tuple[object, ...], Curve]()
    for each in found:
        if each.fit is not None:
            curves[each.fit.name, each.knots, each.fit.interval] = curve_of(each.fit)
        elif each.curve is not None:
            function = named(each.function).evaluate
            curves[each.function, each.form] = Curve(
                each.function, function, each.curve, each.error, each.form, *_SHOWN
            )
    if curves:
        largest = sorted(curves.values(), key=lambda curve: -curve.error)[:_MOST]
        save_picture(draw(largest), path)
    return tuple(each for each in found if each.fit is None and each.curve is None)
