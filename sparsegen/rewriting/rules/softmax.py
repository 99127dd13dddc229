"""Softmax through exp, sums and reciprocals."""

from __future__ import annotations

import math
from typing import Literal

from sparsegen.graph import LogSoftmax, Reduce, Softmax
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import reduced_shape
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site

_LARGEST_EXPONENT = 40.0  # float32 overflows at 88; a margin for values that calibration did not see


@rule("softmax by exp, less the maximum", "softmax")
def softmax_by_exp(site: Site, draft: Draft) -> str:
    """exp(x - max x) / sum of that."""
    return _shares(site, draft, _less_maximum(site, draft))


@rule("softmax by exp", "softmax")
def softmax_by_plain_exp(site: Site, draft: Draft) -> str:
    """exp(x) / sum of that, for values that cannot overflow it."""
    _check_small(site)
    return _shares(site, draft, site.input)


@rule("log softmax by exp and log, less the maximum", "log_softmax")
def log_softmax_by_exp(site: Site, draft: Draft) -> str:
    """Gives x - max x - log of the sum of exp(x - max x)."""
    return _logarithm(site, draft, _less_maximum(site, draft))


@rule("log softmax by exp and log", "log_softmax")
def log_softmax_by_plain_exp(site: Site, draft: Draft) -> str:
    """Gives x - log of the sum of exp(x), for values that cannot overflow it."""
    _check_small(site)
    return _logarithm(site, draft, site.input)


@rule("log softmax by softmax and log", "log_softmax")
def log_softmax_by_softmax(site: Site, draft: Draft) -> str:
    """log(softmax(x)), where no share is too small for float32."""
    _check_small(site)
    return draft.step(draft.add(Softmax(_dim(site)), site.input, site.shape), "log")


def _dim(site: Site) -> int:
    assert isinstance(site.core, Softmax | LogSoftmax)
    return site.core.dim


def _reduced(site: Site, draft: Draft, kind: Literal["max", "sum"], value: str) -> str:
    """One number of all elements along the dimension."""
    dims = (_dim(site),)
    return draft.add(Reduce(kind, dims, keepdim=True), value, reduced_shape(site.shape, dims))


def _less_maximum(site: Site, draft: Draft) -> str:
    largest = draft.add(
        Reduce("max", (_dim(site),), keepdim=True), site.input, reduced_shape(site.shape, (_dim(site),))
    )
    less = draft.step(site.input, "sub", largest)
    return draft.lies_in(less, site.interval[0] - site.interval[1] if site.interval else -math.inf, 0.0)


def _shares(site: Site, draft: Draft, value: str) -> str:
    if isinstance(site.core, Softmax) and site.core.zero_if_masked:
        raise RefusalError("it gives 0 where all is masked, which a quotient does not")
    powers = draft.step(value, "exp")
    return draft.lies_in(draft.step(powers, "div", _sum(site, draft, powers, value)), 0.0, 1.0)


def _logarithm(site: Site, draft: Draft, value: str) -> str:
    sums = _sum(site, draft, draft.step(value, "exp"), value)
    return draft.step(value, "sub", draft.step(sums, "log"))


def _sum(site: Site, draft: Draft, powers: str, value: str) -> str:
    found = _reduced(site, draft, "sum", powers)
    if value != site.input:  # the maximum's power is 1
        draft.lies_in(found, 1.0, float(site.shape[_dim(site)]))
    return found


def _check_small(site: Site) -> None:
    if site.interval is None:
        raise RefusalError("exp may overflow: no calibration tells what its values are")
    largest = max(map(abs, site.interval))
    if largest > _LARGEST_EXPONENT:
        raise RefusalError(f"exp may overflow: its values reach {largest:g}")
