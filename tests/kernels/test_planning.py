"""Plans before kernels: lanes, phases, rows, and the memory of a real network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import sparsegen
from sparsegen.frontend import from_torch, load_model
from sparsegen.graph import Identity, Layer, LayerGraph, LayerNorm, MatMul, Mean, Permute, Reshape, Step
from sparsegen.kernels.operands import Value
from sparsegen.kernels.panels import TILE_LIMIT
from sparsegen.kernels.planning import padded_values, place_taps, plan_operands, use_batch_lanes
from sparsegen.kernels.taps import SplitPhases, TapConv2d
from sparsegen.lowering.assemble import value_lifetimes
from sparsegen.lowering.memory import plan_memory
from sparsegen.target import parse_target
from tests.kernels.contract import check, conv_graph, single, weights

HASWELL = parse_target("haswell")  # 8 lanes


def identity(shape: tuple[int, ...], *steps: Step) -> LayerGraph:
    return single(Identity(), shape, shape, steps)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [(1, False), (5, False), (6, True), (8, True), (9, False), (15, True), (17, False), (64, True)],
)
def test_batch_lanes_need_a_batch_that_fills_them(batch: int, expected: bool) -> None:
    assert use_batch_lanes(identity((batch, 3)), HASWELL) is expected


@pytest.mark.parametrize(
    "graph",
    [
        single(Mean((0, 2), keepdim=True), (8, 3, 4), (1, 3, 1)),
        single(Permute((1, 0, 2)), (8, 3, 4), (3, 8, 4)),
        single(Permute((1, 0)), (8, 8), (8, 8)),
        single(Reshape(), (8, 3, 4), (24, 4)),
        LayerGraph({"x": (8, 3), "y": (4, 3)}, [Layer("a", Identity(), ("x",), (8, 3))], ("a",)),
        LayerGraph(
            {"x": (8, 8)},
            [Layer("a", Identity(), ("x",), (8, 8), (Step("add", "table"),))],
            ("a",),
            {"table": np.ones((8, 8), np.float32)},
        ),
    ],
    ids=["mean", "moved batch", "square", "reshape", "two batches", "constant of every image"],
)
def test_operators_across_the_batch_keep_images_apart(graph: LayerGraph) -> None:
    assert not use_batch_lanes(graph, HASWELL)


def product(*shape: int) -> LayerGraph:
    """A value of square matrices, multiplied by itself."""
    return LayerGraph({"x": shape}, [Layer("a", MatMul(), ("x", "x"), shape)], ("a",))


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (product(8, 5, 5), True),
        (product(8, 3, 5, 5), True),
        (product(8, 3, 8, 8), False),  # rows fill the lanes as well
        (product(8, 3, 15, 15), False),
        (product(8, 8), False),  # the batch would be summed over
        (single(LayerNorm((1, 2), 1e-5), (8, 3, 4), (8, 3, 4)), True),
        (single(LayerNorm((0, 1), 1e-5), (8, 3, 4), (8, 3, 4)), False),
    ],
)
def test_batch_lanes_of_products_and_layer_norms(graph: LayerGraph, expected: bool) -> None:
    assert use_batch_lanes(graph, HASWELL) is expected


def test_products_have_rows_of_whole_vectors() -> None:
    layers = [
        Layer("scores", MatMul(transpose_b=True), ("x", "x"), (2, 3, 13, 13)),
        Layer("result", MatMul(), ("scores", "x"), (2, 3, 13, 20)),
    ]
    graph = LayerGraph({"x": (2, 3, 13, 20)}, layers, ("result",))
    operands = plan_operands(graph, lanes=8, batch_lanes=False)
    rows = {name: value.layout.row for name, value in operands.items() if isinstance(value, Value)}
    assert rows == {"x": 24, "scores": 16, "result": 24}


def test_strides_become_phases_with_pixel_lanes_alone() -> None:
    graph = conv_graph(weights((4, 3, 3, 3)), (2, 3, 9, 9), stride=(2, 2), padding=(1, 1, 1, 1))
    assert [type(layer.core) for layer in place_taps(graph, batch_lanes=True).layers] == [TapConv2d]
    phases, conv = place_taps(graph, batch_lanes=False).layers
    assert isinstance(phases.core, SplitPhases)
    assert len(phases.core.phases) == 4
    assert conv.inputs == (phases.name,) == ("layer#phases",)


@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2)])
def test_without_a_stride_inputs_of_any_width_are_read_where_they_are(
    padding: tuple[int, int, int, int],
) -> None:
    graph = conv_graph(weights((4, 3, 3, 3)), (2, 3, 9, 9), padding=padding)
    placed = place_taps(graph, batch_lanes=False)
    assert [layer.inputs for layer in placed.layers] == [("x",)]
    rows = {
        value.layout.row
        for value in plan_operands(placed, lanes=8, batch_lanes=False).values()
        if isinstance(value, Value)
    }
    assert len(rows) == 1
    check(graph, threads=2)


def test_only_phases_that_a_tap_reads_are_split_off() -> None:
    graph = conv_graph(weights((4, 3, 1, 1)), (2, 3, 9, 9), stride=(2, 2))
    phases, _ = place_taps(graph, batch_lanes=False).layers
    assert isinstance(phases.core, SplitPhases)
    assert phases.core.phases == ((0, 0),)
    assert phases.shape == (2, 3, 5, 5)


def test_pixel_lanes_give_inputs_and_outputs_rows_of_one_length() -> None:
    graph = conv_graph(weights((4, 3, 3, 3)), (2, 3, 8, 8), padding=(1, 1, 1, 1))
    operands = plan_operands(place_taps(graph, batch_lanes=False), lanes=8, batch_lanes=False)
    source, out = operands["x"], operands["layer"]
    assert isinstance(source, Value)
    assert isinstance(out, Value)
    assert source.layout.row == out.layout.row == 9


@pytest.mark.parametrize("batch", [1, 16])
def test_resnet18_shares_its_memory_over_time(batch: int) -> None:
    graph = from_torch(*load_model("resnet18", batch=batch))
    batch_lanes = use_batch_lanes(graph, parse_target("haswell"))
    placed = place_taps(graph, batch_lanes=batch_lanes)
    operands = plan_operands(placed, lanes=8, batch_lanes=batch_lanes)
    layouts = {name: value.layout for name, value in operands.items() if isinstance(value, Value)}
    memory = plan_memory(value_lifetimes(placed, layouts))
    assert memory.peak_bytes <= 1.5 * memory.live_bytes
    dense = 4 * (batch * 3 * 224 * 224 + batch * 64 * 112 * 112)  # the input and the stem's output
    assert dense <= memory.live_bytes <= 1.25 * dense


def test_the_planned_network_is_the_exported_one() -> None:
    torch.manual_seed(0)
    graph = from_torch(torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, 2)).eval(), (torch.randn(1, 2, 7, 7),))
    placed = place_taps(graph, batch_lanes=False)
    assert placed.outputs == graph.outputs
    assert placed.shapes()[placed.outputs[0]] == (1, 3, 3, 3)


@pytest.mark.parametrize("batch", [2, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 12, 33, 50])
def test_tiles_over_the_end_of_an_image_read_inside_its_buffer(batch: int, stride: int, size: int) -> None:
    graph = conv_graph(
        weights((4, 3, 3, 3)), (batch, 3, size, size), stride=(stride, stride), padding=(1, 1, 1, 1)
    )
    batch_lanes = use_batch_lanes(graph, HASWELL)
    assert batch_lanes is (batch == 8)
    placed = place_taps(graph, batch_lanes=batch_lanes)
    operands = plan_operands(placed, lanes=8, batch_lanes=batch_lanes)
    layer = placed.layers[-1]
    source, out = operands[layer.inputs[0]], operands[layer.name]
    assert isinstance(source, Value)
    assert isinstance(out, Value)
    assert isinstance(layer.core, TapConv2d)
    last = int(layer.core.taps.offsets(source.layout).max())
    steps = source.layout.pixel_steps(layer.core.taps.stride)
    overhang = sum(
        step * max(-(-extent // tile) * tile - 1 for tile in range(1, min(extent, TILE_LIMIT) + 1))
        for extent, step in zip(out.layout.pixel_vectors, steps, strict=True)
    )
    assert last + overhang + 7 < source.layout.size


@pytest.mark.parametrize(
    ("size", "stride", "padding", "padded"),
    [(1, 1, 0, False), (1, 2, 0, False), (1, 1, 1, True), (3, 1, 1, True), (3, 1, 0, True)],
    ids=["pointwise", "pointwise, strided", "pointwise, padded", "3x3", "3x3 without padding"],
)
def test_halos_that_are_read_have_to_be_zero(size: int, stride: int, padding: int, padded: bool) -> None:
    graph = conv_graph(
        weights((4, 4, size, size)), (8, 4, 6, 6), stride=(stride, stride), padding=(padding,) * 4
    )
    for batch_lanes in (True, False):
        placed = place_taps(graph, batch_lanes=batch_lanes)
        operands = plan_operands(placed, lanes=8, batch_lanes=batch_lanes)
        layouts = {name: operand.layout for name, operand in operands.items() if isinstance(operand, Value)}
        read = placed.layers[-1].inputs[0]
        assert (read in padded_values(placed, layouts)) is (padded or not batch_lanes)


def test_halos_that_are_not_read_may_hold_anything() -> None:
    """Large values, dead before the pointwise layers run, leave their numbers around these layers' inputs."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1),
        nn.Conv2d(16, 8, 3, padding=1, stride=2),
        nn.Conv2d(8, 20, 1),
        nn.Conv2d(20, 12, 1, stride=2),
        nn.Conv2d(12, 8, 3, padding=1),
        nn.Conv2d(8, 4, 1),
    ).eval()
    image = torch.randn(16, 8, 15, 13)
    with torch.no_grad():
        expected = network.double()(image.double())
        compiled = sparsegen.compile(network.float(), (image,), target="haswell")
    for _ in range(2):
        torch.testing.assert_close(compiled(image).double(), expected, rtol=0, atol=1e-5)
