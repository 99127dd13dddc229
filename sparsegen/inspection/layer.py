"""One layer with weights: the choice that `compile` would make, and what it packs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sparsegen.formats.detect import detect
from sparsegen.graph import Conv2d, Layer, Linear, SeparableConv2d, apart
from sparsegen.inspection.reasons import (
    FUSED,
    MASKED_VECTORS,
    linear_reason,
    reason,
    winograd_reason,
)
from sparsegen.inspection.report import DENSE, WINOGRAD, LayerInspection
from sparsegen.kernels.implementation import Offer
from sparsegen.kernels.linear import pack_linear
from sparsegen.kernels.linear_rows import linear_choice
from sparsegen.kernels.linear_schedule import DENSE_FORMAT, FeatureTiles
from sparsegen.kernels.panels import PanelChoice, PanelProblem, arranged, pack_weights
from sparsegen.kernels.plan import PlannedGraph
from sparsegen.kernels.problems import choose_panels, panel_problem, winograd_choice
from sparsegen.kernels.registry import best_offer, refusals
from sparsegen.kernels.separable import separable_problem
from sparsegen.kernels.taps import TapConv2d
from sparsegen.kernels.winograd.choice import WinogradChoice

_OURS = {
    TapConv2d: {"dense_panels", "panels", "winograd", "grouped", "depthwise"},
    Linear: {"dense_panels", "panels", "rows", "masked_vectors"},
    SeparableConv2d: {"separable"},
}
"""The implementations of layers with weights that this tells more of than their cost, by core."""


def has_weights(layer: Layer) -> bool:
    """Whether the layer is a convolution or linear; of a graph with its taps placed."""
    return isinstance(layer.core, TapConv2d | SeparableConv2d | Linear)


def inspect_layer(layer: Layer, plan: PlannedGraph) -> list[LayerInspection]:
    """Inspect a layer with weights of the plan's graph: both convolutions of a separable one."""
    if not isinstance(layer.core, SeparableConv2d):
        return [_inspect(layer, plan)]
    chosen, (depthwise, pointwise) = best_offer(layer, plan.context), apart(layer)
    if not _is_ours(layer, chosen):
        clock_hz = plan.context.target.speed.clock_hz
        return [_grouped(depthwise, FUSED), _of_offer(pointwise, chosen, clock_hz)]
    problem = separable_problem(layer, plan.context)
    return [_grouped(depthwise, FUSED), _of_panels(pointwise, problem, choose_panels(problem, plan.context))]


def _inspect(layer: Layer, plan: PlannedGraph) -> LayerInspection:
    context, problem = plan.context, panel_problem(layer, plan.context)
    chosen = best_offer(layer, context)
    if not _is_ours(layer, chosen):
        return _of_offer(layer, chosen, context.target.speed.clock_hz)
    if isinstance(layer.core, Linear) and problem is None:
        return _of_rows(layer, plan)
    if problem is None:
        return _grouped(layer, refusals(layer, context)["panels"])
    choice, tiles = choose_panels(problem, context), winograd_choice(layer, context)
    if tiles is None:
        return _of_panels(layer, problem, choice)
    estimates = {**choice.estimates, WINOGRAD: tiles.cycles}
    if chosen.format == WINOGRAD:
        return _of_winograd(layer, choice, tiles, estimates)
    return replace(_of_panels(layer, problem, choice), estimates=estimates)


def _is_ours(layer: Layer, chosen: Offer) -> bool:
    return chosen.implementation.name in _OURS[type(layer.core)]


def _of_offer(layer: Layer, offer: Offer, clock_hz: float) -> LayerInspection:
    """A layer that another package's implementation serves: what that tells of itself."""
    (shape, kept), name = _weights(layer), offer.implementation.name
    assert isinstance(layer.core, TapConv2d | Conv2d | Linear)
    weight, cycles = layer.core.weight, offer.cost.seconds * clock_hz
    return LayerInspection(
        name=layer.name,
        weight_shape=shape,
        kept=kept,
        structure=detect(weight.reshape(shape[0], -1), columns_per_channel=math.prod(shape[2:])).text,
        format=name,
        schedule={} if offer.schedule is None else offer.schedule.as_dict(),
        statistics=None,
        packed_bytes=weight.nbytes,
        positions=_positions(layer),
        cycles=None,
        estimates={},
        why=f"{name} is estimated to take {cycles:,.0f} cycles, the least",
    )


def _of_panels(layer: Layer, problem: PanelProblem, choice: PanelChoice) -> LayerInspection:
    """A layer that panel kernels serve."""
    (shape, kept), knobs = _weights(layer), choice.schedule
    statistics = pack_weights(arranged(problem, knobs), knobs).statistics()
    unpermuted = _rows_per_vector_unpermuted(problem, choice)
    return LayerInspection(
        name=layer.name,
        weight_shape=shape,
        kept=kept,
        structure=choice.structure.text,
        format=knobs.format,
        schedule=knobs.as_dict(),
        statistics=statistics,
        packed_bytes=statistics.bytes,
        positions=_positions(layer),
        cycles=choice.cycles,
        estimates=choice.estimates,
        why=reason(choice, statistics, density=kept / math.prod(shape), unpermuted=unpermuted),
    )


def _of_winograd(
    layer: Layer, choice: PanelChoice, tiles: WinogradChoice, estimates: dict[str, float]
) -> LayerInspection:
    """A layer whose weights are multiplied dense, but fewer times."""
    (shape, kept), knobs = _weights(layer), tiles.schedule
    return LayerInspection(
        name=layer.name,
        weight_shape=shape,
        kept=kept,
        structure=choice.structure.text,
        format=WINOGRAD,
        schedule=knobs.as_dict(),
        statistics=None,
        packed_bytes=tiles.weight_bytes,
        positions=_positions(layer),
        cycles=tiles.cycles,
        estimates=estimates,
        why=winograd_reason(density=kept / math.prod(shape)),
    )


def _of_rows(layer: Layer, plan: PlannedGraph) -> LayerInspection:
    """A linear layer without batch lanes: its zeros are left out where it waits for its weights."""
    (shape, kept), context, core = _weights(layer), plan.context, layer.core
    assert isinstance(core, Linear)
    layout, choice = context.layout(layer.name), linear_choice(layer, context)
    knobs, masked = choice.schedule, choice.schedule.format != DENSE_FORMAT
    estimates = {DENSE if name == DENSE_FORMAT else name: cost for name, cost in choice.estimates.items()}
    return LayerInspection(
        name=layer.name,
        weight_shape=shape,
        kept=kept,
        structure=detect(core.weight, columns_per_channel=1).text,
        format=knobs.format if masked else "linear",
        schedule=knobs.as_dict() if masked else {},
        statistics=None,
        packed_bytes=pack_linear(core.weight, FeatureTiles.of(layout, knobs)).nbytes,
        positions=_positions(layer),
        cycles=choice.cycles if masked else None,
        estimates=estimates if masked else {},
        why=MASKED_VECTORS if masked else linear_reason(plan, layer, density=kept / math.prod(shape)),
    )


def _grouped(layer: Layer, why: str) -> LayerInspection:
    """A grouped convolution, whose weights panel kernels do not serve: they are multiplied dense."""
    (shape, kept), core = _weights(layer), layer.core
    assert isinstance(core, TapConv2d | Conv2d)
    return LayerInspection(
        name=layer.name,
        weight_shape=shape,
        kept=kept,
        structure=detect(core.weight.reshape(shape[0], -1), columns_per_channel=math.prod(shape[2:])).text,
        format="grouped",
        schedule={},
        statistics=None,
        packed_bytes=core.weight.nbytes,
        positions=_positions(layer),
        cycles=None,
        estimates={},
        why=why,
    )


def _weights(layer: Layer) -> tuple[tuple[int, ...], int]:
    """The weights' shape, and how many are not zero."""
    assert isinstance(layer.core, TapConv2d | Conv2d | Linear)
    weight = layer.core.weight
    return weight.shape, int(np.count_nonzero(weight))


def _positions(layer: Layer) -> int:
    """Output pixels, or rows, of the whole batch."""
    (channels, *_), _ = _weights(layer)
    return math.prod(layer.shape) // channels


def _rows_per_vector_unpermuted(problem: PanelProblem, choice: PanelChoice) -> float | None:
    """Mean rows that a loaded vector would serve without the chosen permutation; None for none."""
    if not choice.schedule.permuted:
        return None
    return pack_weights(problem, replace(choice.schedule, permuted=False)).statistics().rows_per_vector
