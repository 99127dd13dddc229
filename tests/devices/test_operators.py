"""Layers as operators: names, kinds, multiply-adds, elements, and what limits ask for."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sparsegen.devices import Operator, describe, describe_graph
from sparsegen.devices.operators import KINDS, names_of
from sparsegen.graph import (
    AdaptivePool2d,
    Concat,
    Conv2d,
    Core,
    Gather,
    Identity,
    Interpolation,
    Layer,
    LayerGraph,
    Linear,
    LogSoftmax,
    MatMul,
    Mean,
    Permute,
    Pool2d,
    Recurrent,
    Reduce,
    Resample2d,
    Reshape,
    SeparableConv2d,
    Shape,
    Slice,
    Softmax,
    Step,
)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def operator(core: Core, shape: Shape, *inputs: Shape, epilogue: tuple[Step, ...] = ()) -> Operator:
    """A layer of inputs x0, x1, ... as an operator."""
    names = tuple(f"x{index}" for index in range(len(inputs)))
    shapes = {**dict(zip(names, inputs, strict=True)), "y": shape, "other": shape, "fused": shape}
    return describe(Layer("y", core, names, shape, epilogue), shapes)


IMAGE = (1, 8, 6, 6)


def test_a_convolution() -> None:
    core = Conv2d(ones(16, 8, 3, 3), ones(16), padding=(1, 1, 1, 1), dilation=(2, 1))
    found = operator(core, (1, 16, 6, 6), IMAGE, epilogue=(Step("add", "other"), Step("relu")))
    assert (found.name, found.kind) == ("conv", "conv")
    assert found.multiply_adds == 16 * 36 * 8 * 9
    assert (found.read, found.written, found.weights) == (8 * 36 + 16 * 36, 16 * 36, 16 * 8 * 9 + 16)
    assert found.steps == ("add", "relu")
    assert found.dilation == (2, 1)
    assert found.shapes == (IMAGE, (1, 16, 6, 6))
    assert tuple(names_of(found)) == ("conv", "add", "relu")


@pytest.mark.parametrize(
    ("weight", "groups", "name", "kind"),
    [((8, 1, 3, 3), 8, "depthwise_conv", "depthwise"), ((8, 4, 3, 3), 2, "grouped_conv", "grouped")],
)
def test_groups(weight: Shape, groups: int, name: str, kind: str) -> None:
    found = operator(Conv2d(ones(*weight), None, groups=groups), (1, 8, 4, 4), IMAGE)
    assert (found.name, found.kind) == (name, kind)
    assert found.multiply_adds == 8 * 16 * weight[1] * 9


HALF = Interpolation(np.zeros((3, 1), np.int32), ones(3, 1))
LINEAR = Interpolation(np.zeros((3, 2), np.int32), ones(3, 2))
CUBIC = Interpolation(np.zeros((3, 4), np.int32), ones(3, 4))


@pytest.mark.parametrize(
    ("core", "shape", "name", "kind", "multiply_adds"),
    [
        (Linear(ones(5, 8), None), (2, 5), "linear", "linear", 2 * 5 * 8),
        (Pool2d("max", (3, 3), (2, 2)), (1, 8, 3, 3), "max_pool", "pool", 8 * 9 * 9),
        (AdaptivePool2d("avg", (1, 1)), (1, 8, 1, 1), "avg_pool", "pool", 0),
        (Mean((2, 3), False), (1, 8), "mean", "reduce", 0),
        (Reduce("max", (1,), False), (1, 6, 6), "reduce_max", "reduce", 0),
        (Permute((0, 2, 3, 1)), (1, 6, 6, 8), "transpose", "move", 0),
        (Reshape(), (1, 288), "reshape", "view", 0),
        (Gather(1, (0, 3)), (1, 2, 6, 6), "gather", "move", 0),
        (Slice(1, 0, 2), (1, 4, 6, 6), "slice", "move", 0),
        (Softmax(1), IMAGE, "softmax", "softmax", 0),
        (LogSoftmax(1), IMAGE, "log_softmax", "softmax", 0),
        (Concat(1), IMAGE, "concat", "concat", 0),
        (Resample2d(HALF, HALF), (1, 8, 3, 3), "resize_nearest", "resize", 8 * 9 * 2),
        (Resample2d(LINEAR, HALF), (1, 8, 3, 3), "resize_bilinear", "resize", 8 * 9 * 3),
        (Resample2d(CUBIC, CUBIC), (1, 8, 3, 3), "resize_bicubic", "resize", 8 * 9 * 8),
    ],
)
def test_names_and_kinds(core: Core, shape: Shape, name: str, kind: str, multiply_adds: int) -> None:
    found = operator(core, shape, IMAGE)
    assert (found.name, found.kind, found.multiply_adds) == (name, kind, multiply_adds)
    assert found.kind in KINDS
    assert found.written == np.prod(shape)


def test_attributes_that_limits_ask_for() -> None:
    assert operator(Slice(1, 0, 2), (1, 4, 6, 6), IMAGE).step == 2
    assert operator(Softmax(2), IMAGE, IMAGE).extents == (6,)
    recurrent = Recurrent("lstm", ones(16, 4), None, reverse=True, keeps_cell=True)
    found = operator(recurrent, (2, 6, 4), (2, 5, 16))
    assert (found.name, found.reverse, found.weights) == ("lstm", True, 64)
    assert found.multiply_adds == 2 * 5 * 64


def test_windows_that_limits_ask_for() -> None:
    conv = Conv2d(ones(16, 4, 3, 5), None, (2, 1), (1, 0, 2, 2), (1, 2), groups=2)
    found = operator(conv, (1, 16, 3, 2), IMAGE)
    assert (found.kernel, found.stride, found.padding) == ((3, 5), (2, 1), (1, 0, 2, 2))
    assert (found.dilation, found.groups) == ((1, 2), 2)
    pool = operator(Pool2d("max", (3, 2), (2, 2), (0, 1, 0, 0)), (1, 8, 3, 3), IMAGE)
    assert (pool.kernel, pool.stride, pool.padding) == ((3, 2), (2, 2), (0, 1, 0, 0))
    equal = operator(AdaptivePool2d("avg", (3, 1)), (1, 8, 3, 1), IMAGE)
    assert (equal.kernel, equal.stride, equal.equal_windows) == ((2, 6), (2, 1), True)
    whole = operator(Pool2d("avg", (6, 6), (6, 6)), (1, 8, 1, 1), IMAGE)
    assert whole.stride == (1, 1)  # one window makes no stride
    unequal = operator(AdaptivePool2d("max", (4, 6)), (1, 8, 4, 6), IMAGE)
    assert (unequal.kernel, unequal.equal_windows) == ((2, 1), False)


def test_what_older_versions_wrote_is_read() -> None:
    record = {"name": "conv", "kind": "conv", "multiply_adds": 9, "read": 4, "written": 1, "dilation": [2, 2]}
    found = Operator.from_dict(record)
    assert found == Operator("conv", "conv", 9, 4, 1, dilation=(2, 2))
    assert (found.kernel, found.stride, found.groups) == ((1, 1), (1, 1), 1)
    assert found.as_dict() == {**record, "dilation": (2, 2)}


def test_a_pointwise_layer_is_its_steps() -> None:
    found = operator(Identity(), IMAGE, IMAGE, epilogue=(Step("sigmoid"), Step("mul", "x0")))
    assert (found.kind, found.read, found.written) == ("pointwise", 288, 288)
    assert tuple(names_of(found)) == ("sigmoid", "mul")


def test_products_of_two_values_and_with_a_constant() -> None:
    layer = Layer("y", MatMul(), ("a", "b"), (4, 6))
    shapes = {"a": (4, 5), "b": (5, 6), "y": (4, 6)}
    both = describe(layer, shapes)
    assert (both.multiply_adds, both.read, both.weights) == (120, 50, 0)
    assert not both.constant_weights
    constant = describe(layer, shapes, {"b"})
    assert (constant.read, constant.weights) == (20, 30)
    assert constant.constant_weights


def test_a_fused_pair_reads_and_writes_nothing_between() -> None:
    core = SeparableConv2d(
        Conv2d(ones(8, 1, 3, 3), None, padding=(1, 1, 1, 1), groups=8),
        (Step("relu"),),
        Conv2d(ones(16, 8, 1, 1), ones(16)),
        "inner",
    )
    found = operator(core, (1, 16, 6, 6), IMAGE)
    assert found.multiply_adds == 8 * 36 * 9 + 16 * 36 * 8
    assert (found.read, found.written, found.weights) == (8 * 36, 16 * 36, 72 + 128 + 16)
    assert found.steps == ("relu",)


def test_a_graph_and_json() -> None:
    layers = [
        Layer("conv", Conv2d(ones(16, 8, 1, 1), None, dilation=(1, 2)), ("x",), (1, 16, 6, 6)),
        Layer("sum", Identity(), ("conv",), (1, 16, 6, 6), (Step("add", "shift"),)),
    ]
    graph = LayerGraph({"x": IMAGE}, layers, ("sum",), {"shift": ones(16, 1, 1)})
    found = describe_graph(graph)
    assert list(found) == ["conv", "sum"]
    assert found["sum"].weights == 16
    for each in found.values():
        assert Operator.from_dict(json.loads(json.dumps(each.as_dict()))) == each
