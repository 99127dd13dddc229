"""Layers whose code is the same share one function, and what tells them apart reaches it as data."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import tvm_ffi
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import sparsegen
from sparsegen.compiler import compile_graph
from sparsegen.errors import ScheduleError
from sparsegen.graph import (
    Conv2d,
    Core,
    Identity,
    Layer,
    LayerGraph,
    Pad,
    Permute,
    Pool2d,
    Shape,
    Slice,
    Step,
)
from sparsegen.kernels import build_kernel
from sparsegen.kernels.grouped_schedule import GroupedSchedule
from sparsegen.kernels.panels import PanelSchedule
from sparsegen.kernels.plan import PlannedGraph, plan_graph
from sparsegen.kernels.pool_schedule import PoolSchedule
from sparsegen.kernels.registry import Memo
from sparsegen.kernels.space import KernelSchedule
from sparsegen.kernels.winograd import WinogradSchedule
from sparsegen.target import parse_target
from tests.kernels.contract import WEIGHTS, check, weights
from tests.sampling import examples

BLOCKS = PanelSchedule(rows=2, tile_h=1, tile_w=2, block=8, chunk=2)
COMBINED = PanelSchedule(rows=2, tile_h=1, tile_w=2, block=8, chunk=2, format="column_combined")
TILES = WinogradSchedule(outputs=4, rows=4, tiles_h=1, tiles_w=1, chunk=2)


def chain(*channels: int, batch: int, kernel: int, epilogue: tuple[Step, ...] = ()) -> LayerGraph:
    """Convolutions, each of another number of channels, with half of their weights."""
    layers = [
        Layer(
            f"layer{i}",
            Conv2d(
                WEIGHTS["half"](weights((after, before, kernel, kernel))), None, padding=(kernel // 2,) * 4
            ),
            (f"layer{i - 1}" if i else "x",),
            (batch, after, 8, 8),
            epilogue,
        )
        for i, (before, after) in enumerate(pairwise(channels))
    ]
    return LayerGraph({"x": (batch, channels[0], 8, 8)}, layers, (layers[-1].name,))


@pytest.mark.parametrize("knobs", [BLOCKS, COMBINED], ids=lambda knobs: knobs.format)
@pytest.mark.parametrize("batch", [16, 1, 3])
def test_layers_of_other_input_channels_share_a_function(batch: int, knobs: PanelSchedule) -> None:
    graph = LayerGraph(
        {f"x{i}": (batch, 8 * (i + 2), 8, 8) for i in range(3)},
        [
            Layer(f"layer{i}", Conv2d(weights((8, 8 * (i + 2), 1, 1)), None), (f"x{i}",), (batch, 8, 8, 8))
            for i in range(3)
        ],
        ("layer0", "layer1", "layer2"),
    )
    schedules: dict[str, KernelSchedule] = {f"layer{i}": knobs for i in range(3)}
    plan = plan_graph(graph, threads=1, target=parse_target("haswell"), schedules=schedules)
    kernels = [build_kernel(plan.layer(layer.name), plan.context) for layer in graph.layers]
    keys = {
        (tvm_ffi.StructuralKey(kernel.module), kernel.store, kernel.prefetch)  # type: ignore[call-arg]
        for kernel in kernels
    }
    assert len(keys) == 1


@pytest.mark.parametrize("knobs", [BLOCKS, COMBINED], ids=lambda knobs: knobs.format)
@pytest.mark.parametrize("batch", [16, 1, 17])
def test_a_shared_function_computes_each_layer(batch: int, knobs: PanelSchedule) -> None:
    graph = chain(16, 8, 16, 8, batch=batch, kernel=1)
    check(graph, schedules={layer.name: knobs for layer in graph.layers}, threads=2)


def test_equal_layers_are_scheduled_once() -> None:
    """Winograd's code is that of another layer where shapes, bias and epilogue are, whatever the weights."""
    graph = chain(8, 8, 8, batch=16, kernel=3, epilogue=(Step("relu"),))
    leaky = chain(8, 8, batch=16, kernel=3, epilogue=(Step("leaky_relu", parameters=(0.1,)),)).layers[0]
    graph.layers.append(Layer("leaky", leaky.core, ("layer1",), leaky.shape, leaky.epilogue))
    biased = Conv2d(leaky.core.weight, np.ones(8, np.float32), padding=(1, 1, 1, 1))  # type: ignore[union-attr]
    graph.layers.append(Layer("biased", biased, ("leaky",), leaky.shape, (Step("relu"),)))
    graph.outputs = ("biased",)
    schedules: dict[str, KernelSchedule] = {layer.name: TILES for layer in graph.layers}
    plan = plan_graph(graph, threads=1, target=parse_target("haswell"), schedules=schedules)
    modules = [build_kernel(plan.layer(layer.name), plan.context).module for layer in graph.layers]
    assert modules[0].same_as(modules[1])
    assert len({hash(module) for module in modules}) == 3
    model = compile_graph(graph, schedules=schedules)
    assert [layer.kernel for layer in model.layers] == ["winograd"] * 4
    check(graph, schedules=schedules)


KNOBS: tuple[KernelSchedule, ...] = (
    BLOCKS,
    COMBINED,
    TILES,
    replace(TILES, outputs=2),
    replace(BLOCKS, permuted=True),
    replace(BLOCKS, block=16),
    replace(BLOCKS, pack_input=True),
    replace(BLOCKS, unroll=2),
)


RELU, ADDED, SCALED = (Step("relu"),), (Step("add", "x2"),), (Step("mul", 2.0), Step("add", "x2"))
CHOICES: tuple[tuple[Any, ...], ...] = (
    ((8, 16), (8, 24), (6, 16)),  # output and input channels
    ("half", "dense", "tenth"),
    (1, 3),
    (16, 1),
    ((), RELU, ADDED, SCALED),
    (False, True),
    KNOBS,
)


@examples(6, soak=500)
@given(st.tuples(*map(st.sampled_from, CHOICES)))
def test_a_layer_has_the_code_that_it_alone_would_have(layer: tuple[Any, ...]) -> None:
    """Also after others, each unlike it in one thing."""
    others = [
        (*layer[:place], choice, *layer[place + 1 :])
        for place, choices in enumerate(CHOICES)
        for choice in choices
    ]
    memo, target = Memo(), parse_target("haswell")
    for (out, channels), kept, kernel, batch, epilogue, biased, knobs in (layer, *others):
        weight = WEIGHTS[kept](weights((out, channels, kernel, kernel)))
        conv = Conv2d(weight, np.ones(out, np.float32) if biased else None, padding=(kernel // 2,) * 4)
        only = Layer("layer", conv, ("x",), (batch, out, 8, 8), epilogue)
        inputs = {"x": (batch, channels, 8, 8), "x2": (batch, out, 8, 8)}
        graph = LayerGraph(inputs, [only], ("layer",))
        plan = plan_graph(graph, threads=1, target=target, schedules={"layer": knobs})
        try:
            alone = build_kernel(plan.layer("layer"), plan.context)
        except ScheduleError:
            continue
        shared = build_kernel(plan.layer("layer"), replace(plan.context, memo=memo))
        assert tvm_ffi.structural_equal(shared.module, alone.module)


IMAGE = (8, 8, 8)
FILTERS = tuple(
    Conv2d(weights((8, 1, size, size)), bias, stride=(stride, stride), padding=(size // 2,) * 4, groups=8)
    for size, stride in ((3, 1), (5, 1), (3, 2))
    for bias in (None, np.ones(8, np.float32))
)
POOLS = tuple(
    Pool2d(kind, (3, 3), (stride, stride), (1, 1, 1, 1)) for kind in ("max", "avg") for stride in (1, 2)
)
GROUPED: tuple[KernelSchedule, ...] = (
    GroupedSchedule(tile_w=2),
    GroupedSchedule(tile_w=2, unrolled=True),
    GroupedSchedule(tile_w=1, tile_h=2, parallel_rows=False),
)
OTHERS: tuple[tuple[Core, Shape, KernelSchedule | None], ...] = (
    *((core, (8, 8 // core.stride[0], 8 // core.stride[1]), knobs) for core in FILTERS for knobs in GROUPED),
    *((core, (8, 8 // core.stride[0], 8 // core.stride[1]), None) for core in POOLS),
    (POOLS[0], IMAGE, PoolSchedule(parallel_rows=True, nested=0, unroll_down=True, unroll_across=False)),
    *((Slice(2, start), (8, 6, 8), None) for start in (0, 2)),
    (Slice(3, 1), (8, 8, 6), None),
    (Pad(((0, 0), (0, 0), (1, 0), (0, 0)), 0.0), (8, 9, 8), None),
    (Pad(((0, 0), (0, 0), (0, 1), (0, 0)), 0.0), (8, 9, 8), None),
    (Identity(), IMAGE, None),
    (Permute((0, 1, 3, 2)), IMAGE, None),
    (Permute((0, 2, 1, 3)), IMAGE, None),
)


def planned(
    core: Core, shape: Shape, knobs: KernelSchedule | None, batch: int, epilogue: tuple[Step, ...], name: str
) -> PlannedGraph:
    """The plan of one layer, which has this name and is of an image."""
    layer = Layer(name, core, ("x",), (batch, *shape), epilogue)
    graph = LayerGraph({"x": (batch, *IMAGE), "x2": (batch, *shape)}, [layer], (name,))
    given = {name: knobs} if knobs else {}
    return plan_graph(graph, threads=2, target=parse_target("haswell"), schedules=given)


@examples(3, soak=300)
@given(st.permutations(OTHERS), st.sampled_from([16, 1]), st.sampled_from([(), RELU, ADDED]))
def test_other_kernels_have_the_code_that_they_alone_would_have(
    layers: list[tuple[Core, Shape, KernelSchedule | None]], batch: int, epilogue: tuple[Step, ...]
) -> None:
    """And equal ones are scheduled once, whatever their names."""
    memo = Memo()
    for core, shape, knobs in layers:
        plan = planned(core, shape, knobs, batch, epilogue, "layer")
        alone = build_kernel(plan.layer("layer"), plan.context)
        shared = build_kernel(plan.layer("layer"), replace(plan.context, memo=memo))
        assert tvm_ffi.structural_equal(shared.module, alone.module)
        other = planned(core, shape, knobs, batch, epilogue, "other")
        again = build_kernel(other.layer("other"), replace(other.context, memo=memo))
        assert isinstance(core, Permute) or again.module.same_as(shared.module)


class Repeated(nn.Module):
    """One linear layer, applied again and again, as an unrolled loop does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)
        with torch.no_grad():
            self.linear.weight[torch.rand(64, 64) < 0.5] = 0
        self.eval()

    def forward(self, x: torch.Tensor, times: int = 1) -> torch.Tensor:
        for _ in range(times):
            x = self.linear(x).tanh()
        return x


def test_steps_of_a_loop_share_their_weights() -> None:
    torch.manual_seed(0)
    model, x = Repeated(), torch.randn(1, 64)
    once, often = (
        sparsegen.compile(model, (x,), {"times": times}, threads=1, target="haswell") for times in (1, 6)
    )
    assert len(once.program.weights) == len(often.program.weights)
    with torch.no_grad():
        torch.testing.assert_close(often(x, times=6), model(x, times=6), rtol=1e-4, atol=1e-5)
