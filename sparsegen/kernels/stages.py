"""Layers that run at once: stages of groups, and the order that they put a graph's layers in."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import networkx

from sparsegen.errors import PlanError
from sparsegen.graph import Layer, LayerGraph
from sparsegen.kernels.conversions import plain_values


@dataclass(frozen=True)
class LayerGroup:
    """Layers that run one after the other, on so many threads."""

    layers: tuple[str, ...]
    threads: int


LayerStage = tuple[LayerGroup, ...]
"""Groups that run at once. A layer waits for those of other groups whose values it reads."""


def in_stages(graph: LayerGraph, stages: Sequence[LayerStage], threads: int) -> LayerGraph:
    """The graph, its layers in the order of stages; errors as `PlannedGraph.staged` has them."""
    layers = {layer.name: layer for layer in graph.layers}
    plain = plain_values(graph) | graph.inputs.keys()
    alone = {name for name, layer in layers.items() if name in plain or not plain.isdisjoint(layer.reads())}
    _check_groups(stages, layers, alone, threads)
    staged = {name for stage in stages for group in stage for name in group.layers}
    placed: dict[str, Layer] = {}

    def place(name: str) -> None:
        """Place a layer that is in no stage, after those that it reads."""
        waiting = [name]
        while waiting:
            missing = [each for each in _sources(layers[waiting[-1]], layers) if each not in placed]
            for each in missing:
                if each in staged:
                    raise PlanError(
                        f"layer {waiting[-1]!r} reads {each!r}, which only this or a later stage computes"
                    )
            waiting += missing
            if not missing:
                done = waiting.pop()
                placed[done] = layers[done]

    for stage in stages:
        here = {name: number for number, group in enumerate(stage) for name in group.layers}
        for name in here:
            for source in _sources(layers[name], layers):
                if source not in placed and source not in staged:
                    place(source)
        for name in _ordered(stage, layers):
            late = [each for each in _sources(layers[name], layers) if each not in placed]
            if late:
                raise PlanError(f"layer {name!r} reads {late[0]!r}, which only a later stage computes")
            placed[name] = layers[name]
    for name in layers:
        if name not in placed:
            place(name)
    return replace(graph, layers=list(placed.values()))


def _sources(layer: Layer, layers: dict[str, Layer]) -> list[str]:
    """The layers that a layer reads."""
    return [name for name in layer.reads() if name in layers]


def _ordered(stage: LayerStage, layers: dict[str, Layer]) -> list[str]:
    """A stage's layers in an order that runs and that each group is in."""
    order: networkx.DiGraph[str] = networkx.DiGraph()
    for group in stage:
        order.add_nodes_from(group.layers)
        order.add_edges_from(itertools.pairwise(group.layers))
    here = set(order)
    order.add_edges_from((each, name) for name in here for each in layers[name].reads() if each in here)
    try:
        return list(networkx.topological_sort(order))
    except networkx.NetworkXUnfeasible:
        (one, other), *_ = networkx.find_cycle(order)
        raise PlanError(f"groups wait for each other in a circle, at layers {one!r} and {other!r}") from None


def _check_groups(
    stages: Sequence[LayerStage], layers: Collection[str], alone: Collection[str], threads: int
) -> None:
    seen: set[str] = set()
    for number, stage in enumerate(stages):
        if not stage or not all(group.layers for group in stage):
            raise PlanError(f"stage {number} has no group, or one without layers")
        if min(group.threads for group in stage) < 1 or sum(group.threads for group in stage) > threads:
            counts = " + ".join(str(group.threads) for group in stage)
            raise PlanError(f"the groups of stage {number} have {counts} threads; {threads} are there")
        for name in (name for group in stage for name in group.layers):
            if name not in layers:
                raise PlanError(f"stage {number} has layer {name!r}: no layer is called so")
            if name in alone:
                raise PlanError(
                    f"stage {number} has layer {name!r}, which reads or makes a plain tensor: it runs alone"
                )
            if name in seen:
                raise PlanError(f"layer {name!r} is in two groups")
            seen.add(name)
