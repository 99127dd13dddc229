"""Operators written down and read again, and what they are to a scheduler."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparsegen.errors import ProblemError
from sparsegen.frontend import from_torch
from sparsegen.hetero.operators.cut import GRANULARITIES, operators
from sparsegen.hetero.operators.export import (
    ExportedModel,
    OperatorCost,
    as_problem,
    export_operators,
    to_json,
)
from sparsegen.hetero.operators.export_reading import from_json
from sparsegen.hetero.problem.problem import Link, Store
from tests.frontend.checking import images
from tests.hetero.networks import Decoder, small
from tests.random_networks import RandomNetwork
from tests.sampling import examples


def decoder(**options: Any) -> ExportedModel:
    graph = from_torch(Decoder(), (images(2, 5), images(2, 7)))
    carried = {list(graph.inputs)[1]: graph.outputs[1]}
    names = [each.name for each in operators(graph, "layer")]
    costs = {
        name: [
            OperatorCost("cpu", "sparsegen", 2, 0.25 + at, "measured"),
            OperatorCost("cpu", "torch", 2, 0.125 + at, "predicted"),
            OperatorCost("gpu", "torch", 1, 0.5, "table"),
        ][: 3 if at else 2]
        for at, name in enumerate(names)
    }
    return export_operators(graph, "decoder", "layer", carried=carried, **{"costs": costs, **options})


@pytest.mark.filterwarnings("ignore:torch itself computes")
@examples(10, soak=500)
@given(st.integers(0, 1 << 32), st.sampled_from(GRANULARITIES))
def test_round_trip(seed: int, granularity: Any) -> None:
    network = RandomNetwork(seed)
    exported = export_operators(from_torch(network, network.inputs), f"network {seed}", granularity)
    assert from_json(to_json(exported)) == exported


def test_what_is_written() -> None:
    exported = decoder()
    assert from_json(to_json(exported)) == exported
    written = json.loads(to_json(exported))
    assert written["schema"] == 1
    assert [form["shape"] for form in written["inputs"]] == [[2, 5], [2, 7]]
    first = written["operators"][0]
    assert first["bytes"] == sum(4 * int(np.prod(form["shape"])) for form in first["outputs"])
    assert first["implementations"][1]["implementation"] == "torch"


def test_work() -> None:
    network, inputs = small("resnet18")
    graph = from_torch(network, inputs)
    (whole,) = export_operators(graph, "resnet18", "model").operators
    blocks = export_operators(graph, "resnet18", "block").operators
    # 1.81e9 multiply-adds at 224x224, by the square of the size, but for the classifier.
    assert whole.work.multiply_adds == pytest.approx(
        (1.8141e9 - 512_000) * (96 / 224) ** 2 + 512_000, rel=0.01
    )
    assert whole.work.multiply_adds == sum(each.work.multiply_adds for each in blocks)
    assert whole.work.weight_bytes == sum(each.work.weight_bytes for each in blocks)
    parameters = sum(each.numel() for each in network.parameters())
    assert whole.work.weight_bytes == pytest.approx(4 * parameters, rel=0.01)
    assert whole.work.density == pytest.approx(1.0, abs=1e-6)  # few weights of random ones are zero
    assert whole.work.kinds == (
        "conv2d",
        "relu",
        "maxpool2d",
        "add",
        "avgadaptivepool2d",
        "reshape",
        "linear",
    )


def test_density() -> None:
    layer = nn.Linear(8, 8).eval()
    layer.weight.data[:2] = 0
    (exported,) = export_operators(from_torch(layer, (images(3, 8),)), "linear", "layer").operators
    assert (exported.work.density, exported.work.multiply_adds) == (0.75, 3 * 64)
    assert exported.work.weight_bytes == 4 * 72


def test_the_problem_that_they_are() -> None:
    exported = decoder()
    links, stores = [Link("cpu", "gpu", 1e-5, 1e9)], {"gpu": Store(memory=1 << 20)}
    problem = as_problem(exported, links=links, stores=stores)
    assert problem.devices == ("cpu", "gpu")
    assert (problem.links, problem.stores) == ((links[0],), stores)
    assert [task.name for task in problem.tasks] == [each.operator.name for each in exported.operators]
    first, second = problem.tasks[:2]
    assert first.times == {"cpu": 0.125}
    assert second.times == {"cpu": 1.125, "gpu": 0.5}
    done: set[str] = set()
    for task, each in zip(problem.tasks, exported.operators, strict=True):
        assert done.issuperset(task.reads)
        assert (task.bytes, task.carries, task.weights) == (
            each.operator.bytes,
            each.operator.carries,
            each.work.weight_bytes,
        )
        done.add(task.name)
    assert any(task.carries for task in problem.tasks)


def test_costs_that_are_missing_or_strange() -> None:
    with pytest.raises(ProblemError, match="has no implementation with a cost"):
        as_problem(decoder(costs={}))
    with pytest.raises(ProblemError, match="costs are given for nobody"):
        decoder(costs={"nobody": []})


def _set(*path: Any, to: Any) -> Any:
    def change(written: Any) -> None:
        for key in path[:-1]:
            written = written[key]
        written[path[-1]] = to

    return change


DAMAGED = {
    "another schema": (_set("schema", to=2), "schema 2; this version reads 1"),
    "no operators": (_set("operators", to=[]), "no operators"),
    "operators of another type": (_set("operators", to={}), "operators is {}"),
    "an operator that is no object": (_set("operators", 0, to=3), r"operators\[0\] is 3"),
    "a missing field": (lambda written: written["operators"][0].pop("kinds"), "has no 'kinds'"),
    "a name of no characters": (_set("operators", 0, "name", to="\ud800"), "where text in Unicode"),
    "a read of no characters": (_set("operators", 0, "reads", to=["\ud800"]), "where text in Unicode"),
    "seconds without bounds": (
        _set("operators", 0, "implementations", 0, "seconds", to=10**400), "seconds is 1",
    ),
    "a name that is taken": (_set("operators", 1, "name", to="x"), "name of two operators"),
    "a read that is not there": (_set("operators", 0, "reads", to=["nobody"]), "reads 'nobody'"),
    "a state of nobody": (_set("operators", 0, "carries", to=["nobody"]), "carries 'nobody'"),
    "an unknown dtype": (_set("inputs", 0, "dtype", to="float33"), "dtype is 'float33'"),
    "a negative size": (_set("inputs", 0, "shape", to=[-1]), "whole numbers from 0"),
    "bytes that are not the outputs'": (_set("operators", 0, "bytes", to=1), "bytes is 1"),
    "a density above 1": (_set("operators", 0, "density", to=1.5), "density is 1.5"),
    "negative seconds": (
        _set("operators", 0, "implementations", 0, "seconds", to=-1), "seconds is -1",
    ),
    "seconds without end": (
        _set("operators", 0, "implementations", 0, "seconds", to=float("inf")), "seconds is inf",
    ),
    "seconds that are no number": (
        _set("operators", 0, "implementations", 0, "seconds", to=float("nan")), "seconds is nan",
    ),
    "true for a number": (_set("operators", 0, "multiply_adds", to=True), "multiply_adds is True"),
    "an unknown origin": (
        _set("operators", 0, "implementations", 0, "origin", to="dreamt"), "origin is 'dreamt'",
    ),
    "an output of nobody": (_set("outputs", to=["nobody"]), "output 'nobody'"),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> str:
    """A file that nothing is wrong with."""
    return to_json(decoder())


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_files(damage: str, whole: str) -> None:
    change, message = DAMAGED[damage]
    written = json.loads(whole)
    written["inputs"].append({"name": "x", "shape": [1], "dtype": "float32"})
    change(written)
    with pytest.raises(ProblemError, match=message):
        from_json(json.dumps(written))


def test_text_that_is_no_json() -> None:
    for text in ("", "[1", "[]", "3"):
        with pytest.raises(ProblemError):
            from_json(text)
