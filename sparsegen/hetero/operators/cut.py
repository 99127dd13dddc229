"""Cutting a layer graph, before its kernels are planned, into operators that plain tensors connect."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import networkx
from torch.utils import _pytree

from sparsegen.errors import OptionError, PlanError
from sparsegen.graph import FLOAT32, Layer, LayerGraph, Result, ValueForm
from sparsegen.hetero.operators.blocks import blocks
from sparsegen.hetero.operators.naming import names_of
from sparsegen.hetero.operators.operators import Operator

Granularity = Literal["layer", "block", "model"]
GRANULARITIES: tuple[Granularity, ...] = ("layer", "block", "model")


def part_of(graph: LayerGraph, layers: Collection[str]) -> LayerGraph:
    """Some of a graph's layers as a graph of their own.

    Its inputs are the values that they read of others, its outputs those that others, or the caller of the
    whole, read of them: plain tensors by position, in the whole's order. An operator's several results stay
    with it: where it is among `layers`, so are they.

    Raises PlanError for no layers and for names that are no layers', for results without the operator that
    gives them, and for layers that cannot run as one, as a value leaves them and comes back.
    """
    _check_names(graph, layers)
    mine, others = list[Layer](), list[Layer]()
    for layer in graph.layers:
        decisive = layer.inputs[0] if isinstance(layer.core, Result) else layer.name
        if layer.name in layers and decisive not in layers:
            raise PlanError(f"layer {layer.name!r} is a result of {decisive!r}: the two stay together")
        (mine if decisive in layers else others).append(layer)
    _check_convex(graph, {layer.name for layer in mine})
    read = {name for layer in mine for name in layer.reads()}
    wanted = {name for layer in others for name in layer.reads()} | {*graph.outputs}
    own = {layer.name for layer in mine}
    outputs = tuple(layer.name for layer in mine if layer.name in wanted)
    inputs = [form for name, form in value_forms(graph).items() if name in read - own]
    return LayerGraph(
        inputs={form.name: form.shape for form in inputs},
        layers=mine,
        outputs=outputs,
        constants={name: array for name, array in graph.constants.items() if name in read},
        output_spec=_pytree.tree_structure(outputs),
        input_dtypes={form.name: form.dtype for form in inputs if form.dtype != FLOAT32},
    )


def operators(
    graph: LayerGraph,
    granularity: Granularity = "block",
    *,
    carried: Mapping[str, str] | None = None,
) -> tuple[Operator, ...]:
    """The operators of a graph, in an order that runs; every layer is in exactly one.

    "layer": each layer; "block": what lies between two articulation points, and the branches in between
    (see `blocks`); "model": all layers together. A name is the layer's; for several layers, the path of the
    innermost module that they share, or the names of the first and the last, as "conv1..pool".

    `carried` tells loop-carried state: an input of the graph, and the output that it is when the model is
    called next.

    Raises PlanError for a graph without layers and for states that are not the graph's, ModelError for those
    of another shape than what they are carried from, and OptionError for another granularity.
    """
    if granularity not in GRANULARITIES:
        raise OptionError(f"granularity {granularity!r}: there are {', '.join(GRANULARITIES)}")
    if not graph.layers:
        raise PlanError("the model has no layers: its results are its inputs, and there is nothing to place")
    states = dict(carried or {})
    _check_states(graph, states)
    groups = _grouped(graph, granularity)
    names = names_of(groups, granularity, taken=graph.inputs)
    owner = {layer: name for name, group in zip(names, groups, strict=True) for layer in group}
    forms = value_forms(graph)
    edges = ((name, layer.name) for layer in graph.layers for name in layer.reads())
    wanted = {*graph.outputs, *(name for name, reader in edges if owner[reader] != owner.get(name))}
    layers = {layer.name: layer for layer in graph.layers}
    found = {
        name: _operator(name, [layers[each] for each in group], owner, states, forms, wanted)
        for name, group in zip(names, groups, strict=True)
    }
    return _in_order(found)


def value_forms(graph: LayerGraph) -> dict[str, ValueForm]:
    """The inputs and the layers' values that are tensors, by name, in the graph's order."""
    inputs = {name: ValueForm(name, shape, graph.input_dtype(name)) for name, shape in graph.inputs.items()}
    made = (layer for layer in graph.layers if layer.dtype != "tuple")
    return {**inputs, **{layer.name: ValueForm(layer.name, layer.shape, layer.dtype) for layer in made}}


def _operator(
    name: str,
    layers: Sequence[Layer],
    owner: Mapping[str, str],
    states: Mapping[str, str],
    forms: Mapping[str, ValueForm],
    wanted: Collection[str],
) -> Operator:
    read = dict.fromkeys(value for layer in layers for value in layer.reads() if value in forms)
    foreign = [value for value in read if owner.get(value) != name]
    order = {value: place for place, value in enumerate(forms)}
    return Operator(
        name=name,
        layers=tuple(layer.name for layer in layers),
        reads=tuple(dict.fromkeys(owner.get(value, value) for value in foreign if value not in states)),
        inputs=tuple(forms[value] for value in sorted(foreign, key=order.__getitem__)),
        outputs=tuple(forms[layer.name] for layer in layers if layer.name in wanted and layer.name in forms),
        carries=tuple(dict.fromkeys(owner[states[value]] for value in foreign if value in states)),
    )


def _grouped(graph: LayerGraph, granularity: Granularity) -> list[tuple[str, ...]]:
    """The layers of every operator: those that stay together count as one while others are cut apart."""
    together = _kept_together(graph)
    if granularity == "layer":
        return list(together.values())
    if granularity == "model":
        return [tuple(layer.name for layer in graph.layers)]
    head = {name: first for first, group in together.items() for name in group}
    reads = dict[str, dict[str, None]]()
    for layer in graph.layers:
        mine = reads.setdefault(head[layer.name], {})
        sources = (head.get(name, name) for name in layer.reads() if name not in graph.constants)
        mine.update((name, None) for name in sources if name != head[layer.name])
    place = {layer.name: at for at, layer in enumerate(graph.layers)}
    found = ([name for first in group for name in together[first]] for group in blocks(reads))
    return [tuple(sorted(group, key=place.__getitem__)) for group in found]


def _kept_together(graph: LayerGraph) -> dict[str, tuple[str, ...]]:
    """Every layer, by name, with its several results where it has such; those are not listed themselves."""
    found: dict[str, list[str]] = {}
    for layer in graph.layers:
        head = layer.inputs[0] if isinstance(layer.core, Result) else layer.name
        found.setdefault(head, []).append(layer.name)
    return {head: tuple(group) for head, group in found.items()}


def _in_order(found: Mapping[str, Operator]) -> tuple[Operator, ...]:
    """The operators, each after those that it reads; else in the order given."""
    edges = networkx.DiGraph()
    edges.add_nodes_from(found)
    edges.add_edges_from((read, name) for name, each in found.items() for read in each.reads if read in found)
    place = {name: at for at, name in enumerate(found)}
    return tuple(found[name] for name in networkx.lexicographical_topological_sort(edges, place.__getitem__))


def _check_names(graph: LayerGraph, layers: Collection[str]) -> None:
    if not layers:
        raise PlanError("a part needs at least one layer")
    unknown = sorted({*layers} - {layer.name for layer in graph.layers})
    if unknown:
        raise PlanError(f"no layer of the model is called {', '.join(map(repr, unknown))}")


def _check_convex(graph: LayerGraph, mine: Collection[str]) -> None:
    """Raise PlanError where a layer of others lies on a way from one of these layers to another."""
    after = set[str]()  # others that depend on one of these
    for layer in graph.layers:
        through = [name for name in layer.reads() if name in after]
        if layer.name in mine and through:
            raise PlanError(
                f"layer {layer.name!r} reads {through[0]!r}, which needs a result of the same operator: cut "
                "it in two, or add what lies between"
            )
        if layer.name not in mine and (through or any(name in mine for name in layer.reads())):
            after.add(layer.name)


def _check_states(graph: LayerGraph, states: Mapping[str, str]) -> None:
    forms = value_forms(graph)
    for state, source in states.items():
        if state not in graph.inputs:
            raise PlanError(f"state {state!r} is no input of the model; those are {', '.join(graph.inputs)}")
        if source not in graph.outputs or source in graph.inputs:
            raise PlanError(f"state {state!r} is carried from {source!r}, which no layer gives as an output")
        forms[state].check_carried(forms[source])
