"""Any continuous function of one variable by ReLUs: a convolution, ReLU, a convolution that sums.

The first one copies each channel, once a knot, less the knot; the last one weighs and sums the copies. Both
are of 1x1. An error is proved on the interval that calibration gives, or on all numbers where the function
has asymptotes on both sides; it is that of the sum in real numbers, to which float32 adds its rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from sparsegen.graph import UNARY
from sparsegen.rewriting.approximation import PiecewiseLinear
from sparsegen.rewriting.draft import Approximation, Draft
from sparsegen.rewriting.fits import ReluSum, fit_of, pieces_of, relu_sum
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import image_shape, plane_shape, pointwise_conv, reshaped

_PIECEWISE_LINEAR = (
    *("relu", "relu6", "hardsigmoid", "leaky_relu", "clamp", "neg", "abs", "softshrink", "piecewise"),
)
APPROXIMATED = tuple(op for op in UNARY if op not in _PIECEWISE_LINEAR)
"""Functions that are not sums of ReLUs themselves."""


@rule("ReLUs of every channel", *APPROXIMATED, "div", kind="approximated")
def relus_of_channels(site: Site, draft: Draft) -> str:
    """Copies of each channel, and a grouped convolution that sums each one's."""
    return _fitted(site, draft, _of_channels)


@rule("ReLUs of one channel", *APPROXIMATED, "div", kind="approximated")
def relus_of_plane(site: Site, draft: Draft) -> str:
    """All elements as one channel, so that no convolution has groups."""
    return _fitted(site, draft, _of_plane)


@rule("piecewise linear function by ReLUs of every channel", "piecewise")
def piecewise_of_channels(site: Site, draft: Draft) -> str:
    """A ReLU for each knot, and a grouped convolution that sums each channel's."""
    return _of_channels(site, draft, relu_sum(pieces_of(site.parameters)))


@rule("piecewise linear function by ReLUs of one channel", "piecewise")
def piecewise_of_plane(site: Site, draft: Draft) -> str:
    """A ReLU for each knot, of all elements as one channel."""
    return _of_plane(site, draft, relu_sum(pieces_of(site.parameters)))


def _of_channels(site: Site, draft: Draft, relus: ReluSum) -> str:
    channels = image_shape(site.shape)[1]
    image = reshaped(draft, site.input, image_shape(site.shape))
    inner, offsets = np.tile(relus.inner, channels)[:, None], np.tile(relus.offsets, channels)
    spread = draft.step(pointwise_conv(draft, image, inner, offsets, groups=channels), "relu")
    bias = np.full(channels, relus.constant, np.float32)
    made = pointwise_conv(draft, spread, np.tile(relus.outer, (channels, 1)), bias, groups=channels)
    return reshaped(draft, made, site.shape)


def _of_plane(site: Site, draft: Draft, relus: ReluSum) -> str:
    image = reshaped(draft, site.input, plane_shape(site.shape))
    spread = draft.step(pointwise_conv(draft, image, relus.inner[:, None], relus.offsets), "relu")
    bias = np.array([relus.constant], np.float32)
    return reshaped(draft, pointwise_conv(draft, spread, relus.outer[None], bias), site.shape)


def _fitted(site: Site, draft: Draft, build: Callable[[Site, Draft, ReluSum], str]) -> str:
    if site.name == "div" and (isinstance(site.operand, str) or not site.reverse):
        raise RefusalError("it is no function of one value alone")
    fit = fit_of(site, draft, partial(build, site))
    note_fit(draft, site.name, fit)
    return build(site, draft, relu_sum(fit))


def note_fit(draft: Draft, function: str, fit: PiecewiseLinear) -> None:
    """Note that a function is computed by a sum of ReLUs."""
    everywhere = all(map(math.isinf, fit.interval))
    draft.approximated(
        Approximation(
            "reciprocal" if function == "div" else function,
            fit.error,
            fit.shown,
            f"{len(fit.knots)} ReLUs",
            None if everywhere else fit.interval,
            fit.knots,
            fit.slopes,
            fit,
        )
    )
