"""Norms through means, squares and powers."""

from __future__ import annotations

import math

import numpy as np

from sparsegen.graph import GroupNorm, LayerNorm, LocalResponseNorm, Mean
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import along, reduced_shape
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import reshaped


@rule("layer norm by means", "layer_norm")
def layer_norm_by_means(site: Site, draft: Draft) -> str:
    """The value less its mean, times the variance to the power of -1/2."""
    core = site.core
    assert isinstance(core, LayerNorm)
    one = reduced_shape(site.shape, core.dims)

    def mean(value: str) -> str:
        return draft.add(Mean(core.dims, True), value, one)

    value = draft.step(site.input, "sub", mean(site.input)) if core.centred else site.input
    variance = draft.step(mean(draft.step(value, "square")), "add", core.eps)
    return draft.step(value, "mul", draft.step(variance, "pow", parameters=(-0.5,)))


@rule("group norm by layer norm", "group_norm")
def group_norm_by_layer_norm(site: Site, draft: Draft) -> str:
    """Each group's channels and pixels as a row."""
    core = site.core
    assert isinstance(core, GroupNorm)
    batch = site.shape[0]
    shape = (batch, core.groups, math.prod(site.shape) // (batch * core.groups))
    made = draft.add(LayerNorm((2,), core.eps), reshaped(draft, site.input, shape), shape)
    return reshaped(draft, made, site.shape)


@rule("local response norm by convolution", "local_response_norm")
def local_response_norm_by_convolution(site: Site, draft: Draft) -> str:
    """Squares summed over channels by weights, to the power of -beta."""
    core = site.core
    assert isinstance(core, LocalResponseNorm)
    if len(site.shape) < 2:
        raise RefusalError("it has no channels")
    channels = site.shape[1]
    offset = np.arange(channels)[None] - np.arange(channels)[:, None] + core.size // 2
    window = (offset >= 0) & (offset < core.size)
    weight, bias = draft.array(window * (core.alpha / core.size)), draft.array(np.full(channels, core.bias))
    sums = along(draft, draft.step(site.input, "square"), 1, weight, bias)
    return draft.step(site.input, "mul", draft.step(sums, "pow", parameters=(-core.beta,)))
