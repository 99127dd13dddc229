"""The approximations of a rewritten model as a picture."""

from __future__ import annotations

from pathlib import Path

from sparsegen.outputs import save_picture
from sparsegen.rewriting.approximation.picture import draw
from sparsegen.rewriting.rewrite import Rewritten

_MOST = 24
"""Approximations on one picture: those of the largest errors."""


def save_approximations(rewritten: Rewritten, path: Path) -> bool:
    """Draw every approximation by ReLUs once, and tell whether there are any."""
    found = [each for site in rewritten.replaced for each in site.approximations]
    fits = {(fit.name, fit.knots, fit.interval): fit for each in found if (fit := each.fit) is not None}
    if not fits:
        return False
    largest = sorted(fits.values(), key=lambda fit: -fit.error)[:_MOST]
    save_picture(draw(largest), path)
    return True
