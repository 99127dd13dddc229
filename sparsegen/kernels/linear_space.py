"""The schedules that a linear layer without batch lanes may have."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from sparsegen.formats import masked_vectors
from sparsegen.graph import Layer, Linear
from sparsegen.kernels.linear_choice import choose_linear
from sparsegen.kernels.linear_schedule import (
    DENSE_FORMAT,
    FORMATS,
    LinearSchedule,
    extents,
    linear_features,
    linear_fits,
)
from sparsegen.kernels.registry import Context
from sparsegen.kernels.space import Space

_ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14)
_VECTORS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15)


def linear_space(layer: Layer, context: Context) -> Space:
    """The schedules of a linear layer without batch lanes."""
    core, layout = layer.core, context.layout(layer.name)
    assert isinstance(core, Linear)
    choice = choose_linear(core.weight, layout, context)
    masked = masked_vectors.NAME in choice.estimates
    rows, vectors = extents(layout)
    heights = {height for height in _ROWS if height <= rows} | ({rows} if masked else set())
    knobs = {
        "rows": tuple(sorted(heights)),
        "vectors": tuple(width for width in _VECTORS if width <= vectors),
        "format": FORMATS if masked else (DENSE_FORMAT,),
    }

    def legal(schedule: LinearSchedule) -> bool:
        known = all(value in knobs[knob] for knob, value in schedule.as_dict().items())
        return known and linear_fits(layout, context.target, schedule)

    features = partial(linear_features, layout, core.weight.shape[1], context)
    default = choice.schedule
    # Points that name no format were written down when there was only one.
    make = partial(replace, default, format=DENSE_FORMAT)
    return Space("linear", knobs, default, make, legal, features, zeros_matter=masked)
