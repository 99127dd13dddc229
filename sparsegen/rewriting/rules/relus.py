"""Any continuous function of one variable by ReLUs: a convolution, ReLU, a convolution that sums.

The first one copies each channel, once a knot, less the knot; the last one weighs and sums the copies. Both
are of 1x1. An error is proved on the interval that calibration gives, or on all numbers where the function
has asymptotes on both sides; it is that of the sum in real numbers, to which float32 adds its rounding.
"""

from __future__ import annotations

import math

import numpy as np

from sparsegen.graph import UNARY
from sparsegen.rewriting.approximation import PiecewiseLinear
from sparsegen.rewriting.draft import Approximation, Draft
from sparsegen.rewriting.fits import fit_of, relu_sum
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import image_shape, plane_shape, pointwise_conv, reshaped

_PIECEWISE_LINEAR = ("relu", "relu6", "hardsigmoid", "leaky_relu", "clamp", "neg", "abs", "softshrink")
APPROXIMATED = tuple(op for op in UNARY if op not in _PIECEWISE_LINEAR)
"""Functions that are not sums of ReLUs themselves."""


@rule("ReLUs of every channel", *APPROXIMATED, "div", kind="approximated")
def relus_of_channels(site: Site, draft: Draft) -> str:
    """Copies of each channel, and a grouped convolution that sums each one's."""
    fit = _fit(site, draft)
    batch, channels, height, width = image_shape(site.shape)
    image = reshaped(draft, site.input, (batch, channels, height, width))
    inner, offsets, outer, constant = relu_sum(fit)
    copies = len(inner)
    spread = pointwise_conv(
        draft, image, np.tile(inner, channels)[:, None], np.tile(offsets, channels), groups=channels
    )
    weight = np.tile(outer, (channels, 1))
    bias = np.full(channels, constant, np.float32)
    assert draft.shape(spread)[1] == channels * copies
    return _finished(
        site, draft, fit, pointwise_conv(draft, draft.step(spread, "relu"), weight, bias, channels)
    )


@rule("ReLUs of one channel", *APPROXIMATED, "div", kind="approximated")
def relus_of_plane(site: Site, draft: Draft) -> str:
    """All elements as one channel, so that no convolution has groups."""
    fit = _fit(site, draft)
    image = reshaped(draft, site.input, plane_shape(site.shape))
    inner, offsets, outer, constant = relu_sum(fit)
    spread = pointwise_conv(draft, image, inner[:, None], offsets)
    bias = np.array([constant], np.float32)
    return _finished(site, draft, fit, pointwise_conv(draft, draft.step(spread, "relu"), outer[None], bias))


def _fit(site: Site, draft: Draft) -> PiecewiseLinear:
    if site.name == "div" and (isinstance(site.operand, str) or not site.reverse):
        raise RefusalError("it is no function of one value alone")
    return fit_of(site, draft)


def _finished(site: Site, draft: Draft, fit: PiecewiseLinear, made: str) -> str:
    note_fit(draft, site.name, fit)
    return reshaped(draft, made, site.shape)


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
