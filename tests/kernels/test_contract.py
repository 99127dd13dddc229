"""Every kernel of a layer with weights keeps the contract, whatever the weights, batch and CPU."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.formats.registry import FORMATS
from sparsegen.graph import Layer, LayerGraph, Step
from sparsegen.kernels.panels import PanelSchedule
from tests.kernels.contract import LAYERS, WEIGHTS, check, conv_graph, weights
from tests.sampling import examples, large


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("batch", [1, 16])
def test_any_weights(kind: str, batch: int) -> None:
    graph = conv_graph(weights((13, 12, 3, 3), kind), (batch, 12, 6, 7), padding=(1, 1, 1, 1))
    check(graph, threads=2)


@pytest.mark.parametrize("kind", ["half", "empty panels", "all zero"])
def test_dense_kernel_multiplies_every_weight(kind: str) -> None:
    graph = conv_graph(weights((13, 12, 3, 3), kind), (16, 12, 6, 7), padding=(1, 1, 1, 1))
    check(graph, threads=1, dense=True)


@large(
    ("layer", "batch", "target"),
    itertools.product(LAYERS, [1, 3, 16, 17], ["native", "haswell"]),
    sample=24,
)
def test_any_layer(layer: str, batch: int, target: str) -> None:
    check(LAYERS[layer](batch), threads=1 + batch % 2, target=target)


# Schedules that no estimate has to choose: panels and tiles that divide nothing, several blocks.
SCHEDULES = {
    "masked_panels": PanelSchedule(rows=3, tile_h=1, tile_w=2, block=5, chunk=1),
    "permuted": PanelSchedule(rows=3, tile_h=1, tile_w=2, block=5, chunk=2, permuted=True),
    "dense_panels": PanelSchedule(rows=2, tile_h=1, tile_w=2, block=5, chunk=2, format="dense_panels"),
    "column_combined": PanelSchedule(rows=1, tile_h=1, tile_w=3, block=5, chunk=3, format="column_combined"),
    "column_combined, rows": PanelSchedule(3, 1, 2, 64, 1, prefetch=False, format="column_combined"),
    "unrolled": PanelSchedule(rows=3, tile_h=1, tile_w=2, block=64, chunk=1, unroll=2),
    "unrolled, combined": PanelSchedule(2, 1, 2, 5, 1, format="column_combined", unroll=4),
    "parallel panels": PanelSchedule(rows=2, tile_h=1, tile_w=2, block=5, chunk=2, parallel="panels"),
    "parallel panels, all": PanelSchedule(2, 1, 2, 64, 7, parallel="panels", permuted=True, unroll=2),
    "packed input": PanelSchedule(rows=3, tile_h=1, tile_w=2, block=5, chunk=2, pack_input=True),
    "packed input, combined": PanelSchedule(
        2, 1, 3, 5, 1, format="column_combined", parallel="panels", unroll=2, pack_input=True
    ),
}


def test_every_format_has_a_schedule() -> None:
    assert {knobs.format for knobs in SCHEDULES.values()} == set(FORMATS)


@large(("name", "kind"), itertools.product(SCHEDULES, WEIGHTS), sample=22)
def test_any_format(name: str, kind: str) -> None:
    graph = conv_graph(weights((13, 12, 3, 3), kind), (16, 12, 6, 7), padding=(1, 1, 1, 1))
    check(graph, threads=2, schedules={"layer": SCHEDULES[name]})


@large(
    ("layer", "batch", "target", "name"),
    itertools.product(
        ["3x3", "3x3 stride 2", "1x1", "linear of a sequence"],
        [1, 3, 16, 17],
        ["native", "haswell"],
        SCHEDULES,
    ),
    sample=20,
)
def test_any_format_on_any_layer(layer: str, batch: int, target: str, name: str) -> None:
    knobs = replace(SCHEDULES[name], tile_w=1) if layer.startswith("linear") else SCHEDULES[name]
    check(LAYERS[layer](batch), threads=1 + batch % 2, target=target, schedules={"layer": knobs})


@large(
    ("layer", "setting"),
    itertools.product(
        [name for name in LAYERS if name not in ("grouped", "depthwise")],
        [(1, "native"), (3, "haswell"), (16, "native"), (16, "haswell")],  # batches and targets
    ),
    sample=12,
)
def test_packed_input_on_any_layer(layer: str, setting: tuple[int, str]) -> None:
    batch, target = setting
    tile, block = (2 if batch == 16 else 1, 3), 64 if target == "native" else 4
    if layer.startswith("linear"):
        tile = (1, 1)
    knobs = PanelSchedule(3, *tile, block, 2, permuted=True, parallel="panels", pack_input=True)
    check(LAYERS[layer](batch), threads=2, target=target, schedules={"layer": knobs})


@pytest.mark.parametrize("batch", [1, 16])
def test_permuted_rows_read_the_residual_of_their_own_channels(batch: int) -> None:
    graph = conv_graph(weights((13, 8, 3, 3)), (batch, 8, 6, 6), padding=(1, 1, 1, 1))
    (first,) = graph.layers
    layers = [
        first,
        Layer("second", first.core, ("x",), first.shape, (Step("add", "layer"), Step("mul", "s"))),
    ]
    scale = np.linspace(0.5, 2, 13, dtype=np.float32).reshape(13, 1, 1)
    graph = LayerGraph(graph.inputs, layers, ("second",), {"s": scale})
    check(graph, threads=2, schedules={"second": SCHEDULES["permuted"]})


@pytest.mark.parametrize("batch", [1, 16, 17])
def test_residual_from_another_layer(batch: int) -> None:
    graph = conv_graph(weights((8, 8, 3, 3)), (batch, 8, 6, 6), padding=(1, 1, 1, 1))
    (first,) = graph.layers
    steps = (Step("add", "first"), Step("relu"), Step("mul", "scale"), Step("sub", 0.5, reverse=True))
    layers = [
        Layer("first", first.core, ("x",), first.shape, (Step("relu"),)),
        Layer("second", first.core, ("first",), first.shape, steps),
    ]
    scale = np.linspace(0.5, 2, 8, dtype=np.float32).reshape(8, 1, 1)
    check(LayerGraph(graph.inputs, layers, ("second",), {"scale": scale}), threads=2)


@st.composite
def convolutions(draw: st.DrawFn) -> LayerGraph:
    """Any convolution, small."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels, out = groups * draw(st.integers(1, 6)), groups * draw(st.integers(1, 9))
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = [draw(st.integers(0, 3)) for _ in range(4)]
    for axis, extent in enumerate((height, width)):  # the window has to fit
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        padding[2 * axis + 1] += max(0, reach - extent - padding[2 * axis] - padding[2 * axis + 1])
    return conv_graph(
        weights((out, channels // groups, *kernel), draw(st.sampled_from(["dense", "half", "tenth"]))),
        (draw(st.sampled_from([1, 2, 5, 16, 18, 32])), channels, height, width),
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        padding=(padding[0], padding[1], padding[2], padding[3]),
        dilation=dilation,
        groups=groups,
    )


@examples(15, soak=800)
@given(graph=convolutions(), threads=st.integers(1, 2), target=st.sampled_from(["native", "haswell"]))
def test_any_convolution(graph: LayerGraph, threads: int, target: str) -> None:
    check(graph, threads=threads, target=target)
