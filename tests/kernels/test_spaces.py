"""The schedule spaces of the kernels that are not panels: what is legal computes the right result."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import tvm_ffi

from sparsegen.errors import SparsegenError
from sparsegen.graph import AdaptivePool2d, Concat, Layer, LayerGraph, Pool2d, Step
from sparsegen.kernels import Context, build_kernel
from sparsegen.kernels.panels import PanelSchedule
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.registry import space_of
from sparsegen.kernels.space import KernelSchedule, Space
from sparsegen.lowering.pipeline import lower
from sparsegen.target import parse_target
from tests.kernels.contract import LAYERS, check, conv_graph, single, weights
from tests.sampling import large

Graphs = dict[str, Callable[[int], LayerGraph]]

POOLS: Graphs = {
    "max pool": lambda n: single(Pool2d("max", (3, 3), (2, 2), (1, 1, 1, 1)), (n, 5, 9, 8), (n, 5, 5, 4)),
    "average pool without padding": lambda n: single(
        Pool2d("avg", (2, 3), (2, 1), (0, 0, 1, 1), count_include_pad=False),
        (n, 3, 8, 7),
        (n, 3, 4, 7),
        (Step("relu"),),
    ),
    "dilated pool of many taps": lambda n: single(
        Pool2d("max", (9, 2), (1, 1), (4, 4, 0, 0), (1, 3)), (n, 32, 9, 11), (n, 32, 9, 8)
    ),
    "pool that leaves columns out": lambda n: single(
        Pool2d("avg", (3, 2), (2, 4), (1, 1, 0, 0)), (n, 3, 7, 10), (n, 3, 4, 3)
    ),
    "uneven adaptive pool": lambda n: single(AdaptivePool2d("avg", (3, 5)), (n, 4, 7, 13), (n, 4, 3, 5)),
    "global pool": lambda n: single(AdaptivePool2d("avg", (1, 1)), (n, 4, 7, 7), (n, 4, 1, 1)),
}
CONVOLUTIONS: Graphs = {
    "grouped": LAYERS["grouped"],
    "depthwise": LAYERS["depthwise"],
    "depthwise, stride 1": lambda n: conv_graph(
        weights((6, 1, 3, 3), "dense"), (n, 6, 7, 9), padding=(1, 1, 1, 1), groups=6
    ),
}
LINEAR: Graphs = {name: LAYERS[name] for name in ("linear", "linear of a sequence")}
GRAPHS: Graphs = {**CONVOLUTIONS, **POOLS, **LINEAR}
# With batch lanes a linear layer is the panels'.
CASES = [(name, batch) for name in GRAPHS for batch in (1, 16) if batch == 1 or name not in LINEAR]
SAMPLES = {"native": 6, "haswell": 1}  # beside the first and the last
COMPILED = [(*case, "native") for case in CASES]
COMPILED += [(name, 1 if name in LINEAR else 16, "haswell") for name in GRAPHS]


def planned(graph: LayerGraph, *, threads: int = 2, target: str = "native") -> tuple[Context, Space]:
    """What the kernel of the graph's `layer` knows, and its space."""
    plan = plan_graph(graph, threads=threads, target=parse_target(target))
    layer = plan.layer("layer")
    space = space_of(layer, plan.context)
    assert space is not None
    return plan.context, space


def sampled(space: Space, count: int) -> list[KernelSchedule]:
    """The first and the last legal schedule, and seeded ones between them."""
    first, *between, last = space.schedules()
    return [first, last, *random.Random(0).sample(between, min(count, len(between)))]


def side_by_side(
    graph: LayerGraph, schedules: Sequence[KernelSchedule]
) -> tuple[LayerGraph, dict[str, KernelSchedule]]:
    """A graph with the only layer of `graph` once for each schedule, all one output; and the schedules."""
    (layer,) = graph.layers
    copies = [replace(layer, name=f"copy {i}") for i in range(len(schedules))]
    names = tuple(copy.name for copy in copies)
    together = Layer(
        "together", Concat(1), names, (layer.shape[0], len(copies) * layer.shape[1], *layer.shape[2:])
    )
    many = LayerGraph(graph.inputs, [*copies, together], ("together",), graph.constants)
    return many, dict(zip(names, schedules, strict=True))


def lowered(graph: LayerGraph, schedule: KernelSchedule) -> object:
    """The loops of the kernel of the graph's `layer`, comparable; and what it stores."""
    target = parse_target("native")
    plan = plan_graph(graph, threads=2, target=target, schedules={"layer": schedule})
    layer = plan.layer("layer")
    kernel = build_kernel(layer, plan.context)
    assert kernel.schedule == schedule.as_dict()
    return tvm_ffi.StructuralKey(lower(kernel.module, kernel.store, kernel.store.shape))  # type: ignore[call-arg]


@large(("name", "batch", "target"), COMPILED, sample=16)
def test_legal_schedules_compute_the_layer(name: str, batch: int, target: str) -> None:
    graph, threads = GRAPHS[name](batch), 1 + batch % 2
    _, space = planned(graph, threads=threads, target=target)
    copies, schedules = side_by_side(graph, sampled(space, SAMPLES[target]))
    check(copies, threads=threads, target=target, schedules=schedules)


@pytest.mark.parametrize("target", ["native", "haswell"])
@pytest.mark.parametrize(("name", "batch"), CASES)
def test_the_default_is_a_legal_point(name: str, batch: int, target: str) -> None:
    for threads in (1, 2, 32):
        _, space = planned(GRAPHS[name](batch), threads=threads, target=target)
        assert space.legal(space.default)
        assert space.default in list(space.schedules())
        assert space.read({}) == space.default
        assert space.read(space.default.as_dict()) == space.default


@large(("name", "batch"), CASES, sample=11)
def test_no_two_legal_points_are_the_same_code(name: str, batch: int) -> None:
    graph = GRAPHS[name](batch)
    schedules = sampled(planned(graph)[1], 30)
    codes = {lowered(graph, schedule) for schedule in schedules}
    assert len(set(schedules)) == len(schedules) == len(codes)


@pytest.mark.parametrize(("name", "batch"), CASES)
def test_features_are_finite_and_named_alike(name: str, batch: int) -> None:
    context, space = planned(GRAPHS[name](batch))
    names = set(space.features(space.default))
    for schedule in space.schedules():
        features = space.features(schedule)
        assert set(features) == names
        assert all(type(value) is float and math.isfinite(value) for value in features.values())
        assert 0 < features["registers"] <= 1
        assert 0 <= features["ragged"] < 1
        assert features["tasks_per_thread"] * context.threads >= 1


@pytest.mark.parametrize(
    ("name", "point", "message"),
    [
        ("depthwise", {"tile": 2}, "grouped_conv kernels have no knob tile; there are tile_w"),
        ("depthwise", {"tile_w": 64}, "not legal"),
        ("depthwise", {"rows": 2}, "not legal"),  # a group has one output channel
        ("grouped", {"rows": 4}, "not legal"),  # of six
        ("grouped", {"tile_w": "wide"}, "no tile_w of .wide."),
        ("linear of a sequence", {"rows": 7}, "not legal"),
        ("linear of a sequence", {"vectors": 0}, "not legal"),
        ("max pool", {"nested": 1}, "not legal"),  # with pixel lanes
        ("max pool", {"unroll": True}, "pool kernels have no knob unroll"),
        ("global pool", {"parallel_rows": False}, "not legal"),  # it has one row
    ],
)
def test_what_is_no_point_is_refused(name: str, point: dict[str, int], message: str) -> None:
    _, space = planned(GRAPHS[name](1))
    with pytest.raises(SparsegenError, match=message):
        space.read(point)


def test_a_tile_of_too_many_registers_is_refused() -> None:
    graph = conv_graph(weights((8, 4, 3, 3)), (16, 8, 16, 16), groups=2)
    _, space = planned(graph, target="haswell")
    with pytest.raises(SparsegenError, match="not legal"):
        space.read({"tile_w": 8, "tile_h": 2})


@pytest.mark.parametrize(("name", "batch"), CASES)
def test_a_schedule_of_another_kernel_is_passed_over(name: str, batch: int) -> None:
    graph = GRAPHS[name](batch)
    other = PanelSchedule(rows=1, tile_h=1, tile_w=1, block=1, chunk=1)
    plan = plan_graph(graph, threads=2, target=parse_target("native"), schedules={"layer": other})
    layer = plan.layer("layer")
    assert build_kernel(layer, plan.context).schedule == planned(graph)[1].default.as_dict()
