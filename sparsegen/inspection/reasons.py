"""Why a layer got its format: one phrase, from what the choice was made by."""

from __future__ import annotations

import math
from dataclasses import replace

from sparsegen.formats.detect import FULL
from sparsegen.formats.registry import Statistics
from sparsegen.graph import Layer
from sparsegen.inspection.report import DENSE, PAYS
from sparsegen.kernels.panels import PanelChoice
from sparsegen.kernels.plan import PlannedGraph
from sparsegen.kernels.planning import use_batch_lanes
from sparsegen.kernels.registry import refusals

_TOO_DENSE = 0.6
"""Density above which it is the density that keeps sparse from paying, not the layer's size."""

_CLOSE = 0.85
"""Share of the chosen format's speed-up from which that of another sparse one is worth a word."""

_NAMES = {"masked_panels": "masked panels", "column_combined": "column-combined"}

FUSED = "dense, computed where the next layer reads it"
MASKED_VECTORS = "waits for its weights: no zero is read"


def reason(choice: PanelChoice, statistics: Statistics, *, density: float, unpermuted: float | None) -> str:
    """Why the format was chosen, or why it gains nothing.

    `statistics` are the packed weights', `unpermuted` the rows that a loaded vector would serve
    without the chosen permutation. Reasons why sparse does not pay hold no numbers: layers share them.
    """
    if density > FULL or choice.estimates[DENSE] / choice.cycles < PAYS:
        return _little_gained(density)
    if density == 0:
        return "all zero: nothing is left to multiply"
    served = f"{statistics.rows_per_vector:.2f} rows"
    if unpermuted is not None:
        return f"permuted: serves {served}, not {unpermuted:.2f}"
    for rival, name in _NAMES.items():
        estimate = choice.estimates.get(rival, math.inf)
        if rival != choice.schedule.format and _CLOSE * estimate < choice.cycles:
            return f"{name} next at {choice.estimates[DENSE] / estimate:.2f}x"
    if choice.schedule.format == "column_combined":
        return f"regular loops, {statistics.padding:.0%} padding"
    return f"vectors serve {served}"


def _little_gained(density: float) -> str:
    """Why zeros gain little at a density."""
    if density > FULL:
        return "no zeros" if density == 1 else "hardly any zeros"
    cause = "too dense" if density > _TOO_DENSE else "too small"
    return f"{cause}: the zeros gain little"


def winograd_reason(*, density: float) -> str:
    """Why a convolution is left to Winograd's minimal filtering."""
    if density > FULL:
        return _little_gained(density)
    return "Winograd's filtering saves more than the zeros"


def sparse_winograd_reason(share: float) -> str:
    """Why a convolution is left to the filtering that multiplies this share of the filters."""
    return f"Winograd's filtering, {1 - share:.0%} of it skipped"


def linear_reason(plan: PlannedGraph, layer: Layer, *, density: float) -> str:
    """Why a linear layer was left to the dense kernel."""
    refused = refusals(layer, plan.context).get("masked_vectors")
    if refused is None:
        return _little_gained(density)
    batch_alone = replace(plan.source, layers=[])
    if use_batch_lanes(batch_alone, plan.context.target):
        return "linear layers run dense where images of a batch meet"
    return refused
