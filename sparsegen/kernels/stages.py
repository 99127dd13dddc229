"""Layers that run at once: stages of groups, and the order that they put a graph's layers in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sparsegen.errors import PlanError
from sparsegen.graph import Layer, LayerGraph
from sparsegen.kernels.conversions import plain_values


@dataclass(frozen=True)
class LayerGroup:
    """Layers that run one after the other, on so many threads."""

    layers: tuple[str, ...]
    threads: int


LayerStage = tuple[LayerGroup, ...]
"""Groups that run at once: no layer of one reads what a layer of another computes."""


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
        for group in stage:
            for name in group.layers:
                _check_reads(layers[name], placed, here, layers)
                placed[name] = layers[name]
    for name in layers:
        if name not in placed:
            place(name)
    return replace(graph, layers=list(placed.values()))


def _sources(layer: Layer, layers: dict[str, Layer]) -> list[str]:
    """The layers that a layer reads."""
    return [name for name in layer.reads() if name in layers]


def _check_reads(
    layer: Layer, placed: dict[str, Layer], here: dict[str, int], layers: dict[str, Layer]
) -> None:
    for source in _sources(layer, layers):
        if source not in placed:
            raise PlanError(f"layer {layer.name!r} reads {source!r}, which has not run by then")
        if source in here and here[source] != here[layer.name]:
            raise PlanError(
                f"layer {layer.name!r} reads {source!r}, which another group of its stage computes"
            )


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
