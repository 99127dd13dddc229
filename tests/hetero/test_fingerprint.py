"""Digests: the same for layers that compute alike, another for any attribute that differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, note
from hypothesis import strategies as st
from torch import nn

from sparsegen.frontend import from_torch
from sparsegen.graph import Conv2d, Extern, Layer, LayerGraph, Read, Step
from sparsegen.hetero.operators.cut import operators, part_of
from sparsegen.hetero.operators.fingerprint import fingerprint, model_fingerprint
from tests.frontend.checking import images
from tests.hetero.networks import small
from tests.random_networks import RandomNetwork
from tests.sampling import examples
from tests.test_torch_graph import CORES, graph_of


def changed(value: Any) -> Any:
    """Another value of the same type; None for what cannot be changed so."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case np.ndarray() if value.dtype.kind == "f":
            other = value.copy()
            other.flat[0] = 0 if other.flat[0] else 1
            return other
        case np.ndarray():
            return value + 1
        case tuple() if value:
            return (*value[:-1], changed(value[-1]))
        case _ if dataclasses.is_dataclass(value):
            name = dataclasses.fields(value)[0].name
            return replace(value, **{name: changed(getattr(value, name))})
    return None if value is not None else np.ones(3, np.float32)


@pytest.mark.parametrize("name", CORES)
def test_every_attribute_of_a_core_counts(name: str) -> None:
    core, sources, shape = CORES[name]
    graph = graph_of(core, sources, shape)
    seen = {fingerprint(graph)}
    for field in dataclasses.fields(core):
        if field.name in ("fused", "steps"):
            continue
        other = changed(getattr(core, field.name))
        seen.add(fingerprint(graph_of(replace(core, **{field.name: other}), sources, shape)))
    counted = [field for field in dataclasses.fields(core) if field.name not in ("fused", "steps")]
    assert len(seen) == 1 + len(counted)


def base() -> LayerGraph:
    conv = Conv2d(np.ones((4, 4, 3, 3), np.float32), None, padding=(1, 1, 1, 1))
    layers = [
        Layer("a", conv, ("x",), (1, 4, 5, 5), (Step("leaky_relu", parameters=(0.1,)),)),
        Layer("b", conv, ("a",), (1, 4, 5, 5), (Step("sub", "y"), Step("mul", "c"))),
    ]
    inputs = {"x": (1, 4, 5, 5), "y": (1, 4, 5, 5)}
    return LayerGraph(inputs, layers, ("b",), {"c": np.ones((4, 1, 1), np.float32)})


def with_layer(place: int, **fields: Any) -> LayerGraph:
    graph = base()
    graph.layers[place] = replace(graph.layers[place], **fields)
    return graph


OTHERS: dict[str, Callable[[], LayerGraph]] = {
    "a shape": lambda: with_layer(0, shape=(1, 4, 5, 6)),
    "an input's shape": lambda: replace(base(), inputs={"x": (1, 4, 5, 5), "y": (1, 4, 1, 1)}),
    "an input's dtype": lambda: replace(base(), input_dtypes={"y": "float64"}),
    "a step": lambda: with_layer(0, epilogue=(Step("relu"),)),
    "a step's parameter": lambda: with_layer(0, epilogue=(Step("leaky_relu", parameters=(0.2,)),)),
    "the sides of a step": lambda: with_layer(1, epilogue=(Step("sub", "y", True), Step("mul", "c"))),
    "the order of steps": lambda: with_layer(1, epilogue=(Step("mul", "c"), Step("sub", "y"))),
    "a number for a constant": lambda: with_layer(1, epilogue=(Step("sub", "y"), Step("mul", 2.0))),
    "what a step reads": lambda: with_layer(1, epilogue=(Step("sub", "a"), Step("mul", "c"))),
    "what a layer reads": lambda: with_layer(1, inputs=("x",)),
    "the outputs": lambda: replace(base(), outputs=("a", "b")),
    "a constant's zeros": lambda: replace(base(), constants={"c": np.eye(4, dtype=np.float32)[:, :1, None]}),
    "a constant's shape": lambda: replace(base(), constants={"c": np.ones((4, 1, 5), np.float32)}),
    "a layer less": lambda: replace(base(), layers=base().layers[:1], outputs=("a",)),
}


def test_what_changes_a_digest() -> None:
    digests = {name: fingerprint(make()) for name, make in OTHERS.items()} | {"as it is": fingerprint(base())}
    assert len(set(digests.values())) == len(digests)
    models = {name: model_fingerprint(make()) for name, make in OTHERS.items()}
    assert len({*models.values(), model_fingerprint(base())}) == len(models) + 1


def test_what_does_not() -> None:
    names = {"a": "first", "x": "image", "y": "other", "c": "scale"}
    graph = base()
    renamed = LayerGraph(
        {names[name]: shape for name, shape in graph.inputs.items()},
        [replace(each.renamed(names), name=names.get(each.name, each.name)) for each in graph.layers],
        graph.outputs,
        {"scale": graph.constants["c"] * 3},
    )
    conv = graph.layers[0].core
    assert isinstance(conv, Conv2d)
    other = with_layer(0, core=replace(conv, weight=conv.weight * -2))
    assert fingerprint(renamed) == fingerprint(other) == fingerprint(graph)
    assert model_fingerprint(renamed) == model_fingerprint(graph)


def test_the_order_of_inputs_counts_for_a_model_alone() -> None:
    graph = base()
    swapped = replace(graph, inputs={name: graph.inputs[name] for name in ("y", "x")})
    assert fingerprint(swapped) == fingerprint(graph)
    assert model_fingerprint(swapped) != model_fingerprint(graph)


def test_what_torch_computes() -> None:
    def graph(**fields: Any) -> LayerGraph:
        core = Extern(
            torch.ops.aten.add.Tensor, (Read(0), torch.ones(3)), {"alpha": 2}, "float32", "it has no kernel"
        )
        return graph_of(replace(core, **fields), [(2, 3)], (2, 3))

    others = [
        {"overload": torch.ops.aten.sub.Tensor}, {"arguments": (Read(0), torch.zeros(3))},
        {"arguments": (Read(0), torch.ones(1, 3))}, {"arguments": (Read(0), torch.ones(3).long())},
        {"keywords": {"alpha": 3}}, {"keywords": {}}, {"dtype": "float64"},
    ]  # fmt: skip
    assert len({fingerprint(graph(**each)) for each in others} | {fingerprint(graph())}) == len(others) + 1
    assert fingerprint(graph(reason="another")) == fingerprint(graph())
    assert fingerprint(graph(arguments=(Read(0), torch.full((3,), 2.0)))) == fingerprint(graph())


def test_equal_layers_of_a_network_share_a_digest() -> None:
    network, inputs = small("resnet18")
    graph = from_torch(network, inputs)
    digests = {each.name: fingerprint(part_of(graph, each.layers)) for each in operators(graph, "layer")}
    assert len(set(digests.values())) < len(digests)
    one = "features.stage1.unit{}.body.conv1.conv"
    assert digests[one.format(1)] == digests[one.format(2)]
    assert digests[one.format(1)] != digests[one.format(1).replace("conv1", "conv2")]


@pytest.mark.filterwarnings("ignore:torch itself computes")
@examples(6, soak=500)
@given(st.integers(0, 1 << 32))
def test_a_network_made_again_has_the_same_digest(seed: int) -> None:
    first, second = RandomNetwork(seed), RandomNetwork(seed)
    note(f"network {seed}: {first.describe()}")
    graph = from_torch(first, first.inputs)
    assert model_fingerprint(graph) == model_fingerprint(from_torch(second, second.inputs))


def test_zeros_count_and_values_do_not() -> None:
    def digest(change: Callable[[torch.Tensor], torch.Tensor]) -> str:
        torch.manual_seed(0)
        layer = nn.Linear(8, 4).eval()
        layer.weight.data = change(layer.weight.data)
        return model_fingerprint(from_torch(layer, (images(2, 8),)))

    assert digest(lambda w: w) == digest(lambda w: w * 2)
    assert digest(lambda w: w) != digest(lambda w: w * (w > 0))
