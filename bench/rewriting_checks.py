"""What rewriting promises, checked in float64: operators beside their bounds, results beside torch's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from sparsegen.devices.operators import describe
from sparsegen.graph import LayerGraph
from sparsegen.rewriting.bounds import known_intervals
from sparsegen.rewriting.calibration import Inputs
from sparsegen.rewriting.memory import Way
from sparsegen.rewriting.parts import parts_of, taken_apart
from sparsegen.rewriting.rewrite import Rewriter, Rewritten
from sparsegen.rewriting.site import Interval, Site, site_of
from sparsegen.torch_graph.graph import TorchGraph
from tests.rewriting.rewritings import as_it_is, doubled, float64_by_default, in_float64

_ROUNDING = 1e-6
"""Beside the size of a result: constants that rules make are float32's."""


@dataclass(frozen=True)
class SiteCheck:
    """Replaced operators, on what reaches them on a calibration input.

    bound: the largest that is stated, None where there is none for one of them. error: the largest found.
    wrong: operators that err by more than their bound.
    """

    checked: int
    bound: float | None
    error: float
    wrong: tuple[str, ...]


def check_sites(
    graph: LayerGraph,
    rewriter: Rewriter,
    rewritten: Rewritten,
    max_error: float,
    intervals: Mapping[str, Interval],
    call: Inputs,
) -> SiteCheck:
    """Compute every replaced operator of a graph by its way, and as it is, both in float64."""
    search, shapes = rewriter.search(max_error), graph.shapes()
    values, sure = _values(graph, call), known_intervals(graph)
    errors, wrong = list[float](), list[str]()
    for layer in graph.layers:
        lacking = not rewriter.price(describe(layer, shapes, graph.constants.keys())).supported
        for part in parts_of(layer, shapes):
            site, seen = (site_of(part, shapes, graph.constants, known) for known in (sure, intervals))
            if part.name not in values:  # of a linear layer that torch computes with an LSTM
                values[part.name] = _computed(as_it_is(site), values)
            way = search.choose(site, seen)[0] if lacking else None
            if way is None or not way.rules:
                continue
            expected = values[part.name]
            errors.append((_computed(_graph(way, site), values) - expected).abs().max().item())
            if errors[-1] > way.error + _ROUNDING * (1 + expected.abs().max().item()):
                wrong.append(part.name)
    bound = max((each.error for each in rewritten.replaced), default=0.0)
    known_bound = bound if math.isfinite(bound) else None
    return SiteCheck(len(errors), known_bound, max(errors, default=0.0), tuple(wrong))


def _values(graph: LayerGraph, call: Inputs) -> dict[str, Tensor]:
    """What every value of a graph, and every one between the steps of its layers, is in float64."""
    found = {name: _as_double(given) for name, given in zip(graph.inputs, call, strict=True)}
    found |= {name: torch.from_numpy(array).double() for name, array in graph.constants.items()}

    def keep(name: str, value: Any) -> None:
        if isinstance(value, Tensor):
            found[name] = value.clone()

    with float64_by_default():
        TorchGraph(doubled(taken_apart(graph))).watched(keep, *map(_as_double, call))
    return found


def _graph(way: Way, site: Site) -> LayerGraph:
    """A site by a way."""
    alone = as_it_is(site)
    constants = {**site.constants, **way.constants}
    return replace(alone, layers=list(way.layers), outputs=(way.result,), constants=constants)


def _computed(graph: LayerGraph, values: Mapping[str, Tensor]) -> Tensor:
    """A graph's result in float64, by values that its inputs are called after."""
    return in_float64(graph, *(values[name] for name in graph.inputs))


def double_error(network: nn.Module, graph: LayerGraph, call: Inputs) -> float:
    """How far a graph's results are from a network's, both in float64; the network becomes float64."""
    given = [_as_double(each) for each in call]
    with float64_by_default(), torch.no_grad():
        expected = _floats(network.double()(*given))
        found = _floats(TorchGraph(doubled(graph))(*given))
    return max((ours - theirs).abs().max().item() for ours, theirs in zip(found, expected, strict=True))


def _floats(results: object) -> list[Tensor]:
    leaves = _pytree.tree_leaves(results)
    return [each for each in leaves if isinstance(each, Tensor) and each.is_floating_point()]


def _as_double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value
