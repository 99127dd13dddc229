"""Where values change between plain tensors and layouts: once each, at the graph's edges and around torch."""

from __future__ import annotations

import numpy as np
import torch

from sparsegen.graph import Extern, Identity, Layer, LayerGraph, Read, Reshape, Result, Shape, Step
from sparsegen.kernels.conversions import Convert, place_conversions, plain_values, sources
from sparsegen.kernels.planning import plan_operands, use_batch_lanes
from sparsegen.target import parse_target

SHAPE = (16, 4, 6, 6)
RELU = (Step("relu"),)


def kernel(name: str, source: str, *steps: Step, shape: Shape = SHAPE) -> Layer:
    return Layer(name, Identity(), (source,), shape, steps or RELU)


def extern(name: str, *sources: str, dtype: str = "float32", shape: Shape = SHAPE) -> Layer:
    core = Extern(torch.ops.aten.add.Tensor, (Read(0), Read(len(sources) - 1)), {}, dtype, "")
    return Layer(name, core, sources, shape)


def graph(*layers: Layer, outputs: tuple[str, ...], **inputs: Shape) -> LayerGraph:
    return LayerGraph(inputs or {"x": SHAPE}, list(layers), outputs)


def told(placed: LayerGraph) -> list[tuple[str, str, tuple[str, ...]]]:
    """Name, kind and inputs of every layer."""
    return [
        (each.name, each.core.to if isinstance(each.core, Convert) else "", tuple(each.reads()))
        for each in placed.layers
    ]


def test_without_torch_there_are_conversions_at_the_edges_alone() -> None:
    add = kernel("b", "a", Step("add", operand="y"))
    placed = place_conversions(
        graph(kernel("a", "x"), add, outputs=("b", "a", "b"), x=SHAPE, y=SHAPE),
    )
    assert placed.inputs == {"x#plain": SHAPE, "y#plain": SHAPE}
    assert placed.outputs == ("output 0", "output 1", "output 2")
    assert told(placed) == [
        ("x", "lanes", ("x#plain",)),
        ("y", "lanes", ("y#plain",)),
        ("a", "", ("x",)),
        ("b", "", ("a", "y")),
        ("output 0", "plain", ("b",)),
        ("output 1", "plain", ("a",)),
        ("output 2", "plain", ("b",)),
    ]


def test_twins_are_made_once() -> None:
    placed = place_conversions(
        graph(
            kernel("a", "x"),
            extern("e", "a", "x"),
            extern("f", "e", "a"),
            kernel("b", "e"),
            kernel("c", "e", Step("mul", operand="f")),
            outputs=("c", "a", "e"),
        )
    )
    assert told(placed) == [
        ("x", "lanes", ("x#plain",)),
        ("a", "", ("x",)),
        ("a#plain", "plain", ("a",)),
        ("e", "", ("a#plain", "x#plain")),
        ("e#lanes", "lanes", ("e",)),
        ("f", "", ("e", "a#plain")),
        ("f#lanes", "lanes", ("f",)),
        ("b", "", ("e#lanes",)),
        ("c", "", ("e#lanes", "f#lanes")),
        ("output 0", "plain", ("c",)),
    ]
    assert placed.outputs == ("output 0", "a#plain", "e")


def test_inputs_that_torch_alone_reads_are_never_laid_out() -> None:
    given = graph(extern("e", "ids", "x"), kernel("a", "e"), outputs=("a",), x=SHAPE, ids=SHAPE)
    given.input_dtypes["ids"] = "int64"
    placed = place_conversions(given)
    assert list(placed.inputs) == ["x", "ids"]
    assert placed.input_dtypes == {"ids": "int64"}
    assert [name for name, kind, _ in told(placed) if kind == "lanes"] == ["e#lanes"]


def test_results_of_several() -> None:
    tuple_layer = extern("e", "x", dtype="tuple", shape=())
    first, second = (
        Layer(name, Result(index, dtype), ("e",), SHAPE)
        for index, (name, dtype) in enumerate((("values", "float32"), ("indices", "int64")))
    )
    placed = place_conversions(
        graph(tuple_layer, first, second, kernel("a", "values"), outputs=("a", "indices"))
    )
    assert plain_values(placed) == {"x", "e", "values", "indices", "output 0"}
    assert placed.outputs == ("output 0", "indices")


def test_plain_values_have_no_layout() -> None:
    placed = place_conversions(graph(extern("e", "x"), kernel("a", "e"), outputs=("a",)))
    operands = plan_operands(placed, lanes=8, batch_lanes=True)
    assert operands.keys() == {"e#lanes", "a"}


def test_lanes_are_decided_by_what_kernels_read() -> None:
    target, rows = parse_target("haswell"), (3, 16 * 36 * 4 // 3)
    flattened = extern("e", "x", shape=rows)  # images of the batch meet here, in torch
    back = extern("f", "e")
    assert use_batch_lanes(graph(flattened, back, kernel("a", "f"), outputs=("a",)), target)
    assert sources(graph(flattened, back, kernel("a", "f"), outputs=("a",))) == {"f": SHAPE}
    meets = Layer("a", Reshape(), ("e",), SHAPE)
    assert not use_batch_lanes(graph(flattened, meets, outputs=("a",)), target)


def test_constants_stay_arrays() -> None:
    given = graph(kernel("a", "x", Step("add", operand="c")), extern("e", "a"), outputs=("e",))
    given.constants["c"] = np.zeros(SHAPE[1:], np.float32)
    placed = place_conversions(given)
    assert [reads for _, _, reads in told(placed)] == [("x#plain",), ("x", "c"), ("a",), ("a#plain",)]


def test_an_input_that_is_an_output_is_copied() -> None:
    placed = place_conversions(graph(extern("e", "x"), outputs=("x", "e")))
    assert placed.outputs == ("output 0", "e")
    assert told(placed)[0] == ("x", "lanes", ("x#plain",))
