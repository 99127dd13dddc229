"""Small layers of every kind of kernel, whose lowered loops are in tests/golden."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sparsegen.graph import (
    AdaptivePool2d,
    Array,
    Concat,
    Core,
    Gather,
    GroupNorm,
    Identity,
    Interpolation,
    Layer,
    LayerGraph,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    MatMul,
    Mean,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Pool2d,
    Recurrent,
    Reduce,
    Resample2d,
    Reshape,
    Shape,
    Slice,
    Softmax,
    Step,
)
from sparsegen.kernels import Context, Kernel, build_kernel
from sparsegen.kernels.grouped_schedule import GroupedSchedule
from sparsegen.kernels.linear_schedule import LinearSchedule
from sparsegen.kernels.panels import PanelSchedule
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.pool_schedule import PoolSchedule
from sparsegen.kernels.space import KernelSchedule
from sparsegen.kernels.winograd import SparseWinogradSchedule, WinogradSchedule
from sparsegen.target import Target, parse_target
from tests.kernels.contract import conv_graph, single
from tests.kernels.test_separable import fused, pair

SAME = (1, 1, 1, 1)
RELU = (Step("relu"),)
TILES = WinogradSchedule(outputs=2, rows=2, tiles_h=1, tiles_w=1, chunk=1)
KEPT = SparseWinogradSchedule(outputs=2, rows=2, tiles_h=1, tiles_w=1, chunk=1)


@dataclass(frozen=True, eq=False)
class Case:
    """A graph, or a part of it, of which `layer` becomes a kernel: under a `schedule`, or its own choice."""

    graph: LayerGraph
    schedule: KernelSchedule | None = None
    cpu: str = "haswell"
    layer: str = "layer"
    part: tuple[str, ...] = ()

    def planned(self) -> tuple[Layer, Context]:
        """The layer, and what its kernel knows."""
        schedules = {} if self.schedule is None else {self.layer: self.schedule}
        plan = plan_graph(self.graph, threads=2, target=fixed_target(self.cpu), schedules=schedules)
        plan = plan.part(self.part) if self.part else plan
        return plan.layer(self.layer), plan.context

    def kernel(self) -> tuple[type, Kernel]:
        """The layer's core operator and its kernel."""
        layer, context = self.planned()
        return type(layer.core), build_kernel(layer, context)


def fixed_target(cpu: str) -> Target:
    """The CPU with caches and cores that do not depend on the machine."""
    target = parse_target(cpu, elsewhere=True)
    return replace(target, l1_bytes=32 << 10, l2_bytes=512 << 10, l3_bytes=16 << 20, cores=2)


def half(*shape: int) -> Array:
    """Weights of which every second is zero, each another."""
    return (
        (np.arange(np.prod(shape)) % 2 * np.arange(1, 1 + np.prod(shape))).astype(np.float32).reshape(shape)
    )


def convolution(batch: int, *, groups: int = 1, steps: tuple[Step, ...] = (), stride: int = 1) -> LayerGraph:
    """A 3x3 convolution of 4 channels on 4x4 pixels to 6, or to 4 of groups; half of its weights are zero."""
    weight = half(6 if groups == 1 else 4, 4 // groups, 3, 3)
    return conv_graph(
        weight, (batch, 4, 4, 4), padding=SAME, groups=groups, stride=(stride, stride), epilogue=steps
    )


def layer_of(core: Core, source: Shape, out: Shape, steps: tuple[Step, ...] = ()) -> Case:
    """A layer whose kernel chooses its schedule."""
    return Case(single(core, source, out, steps))


def of_two(core: Core, first: Shape, second: Shape, out: Shape, steps: tuple[Step, ...] = ()) -> Case:
    """A layer of two inputs, `x` and `y`."""
    layer = Layer("layer", core, ("x", "y"), out, steps)
    return Case(LayerGraph({"x": first, "y": second}, [layer], ("layer",)))


def arithmetic(batch: int) -> Case:
    """Pointwise steps with a constant by channel, another value and numbers, zero among them."""
    shape = (batch, 2, 3)
    steps = (Step("mul", "scale"), Step("add", "y"), Step("sub", 0.0), *RELU)
    layer, scale = Layer("layer", Identity(), ("x",), shape, steps), np.ones((2, 1), np.float32)
    return Case(LayerGraph({"x": shape, "y": shape}, [layer], ("layer",), {"scale": scale}))


def edge(conversion: str, batch: int, cpu: str = "haswell") -> Case:
    """The kernel of the conversion of an input or of an output."""
    return Case(LayerGraph({"x": (batch, 2, 2, 8)}, [], ("x",)), cpu=cpu, layer=conversion)


def copied(outputs: int) -> Interpolation:
    """Every position twice."""
    return Interpolation(
        (np.arange(outputs, dtype=np.int32) // 2)[:, None], np.ones((outputs, 1), np.float32)
    )


def halfway(extent: int) -> Interpolation:
    """The means of neighbours."""
    reads = np.arange(extent - 1, dtype=np.int32)[:, None] + np.arange(2, dtype=np.int32)
    return Interpolation(reads, np.full((extent - 1, 2), 0.5, np.float32))


def masked(batch: int) -> Case:
    """Pointwise steps with a known mask and a slope by channel."""
    shape = (batch, 2, 3)
    constants = {"mask": np.asarray([[[1, 0, 1]]], np.float32), "slope": np.full((2, 1), 0.5, np.float32)}
    steps = (Step("prelu", "slope"), Step("select", "mask", parameters=(-1.0,)))
    return Case(
        LayerGraph({"x": shape}, [Layer("layer", Identity(), ("x",), shape, steps)], ("layer",), constants)
    )


PACKED = PanelSchedule(2, 2, 2, 2, 1, unroll=2, parallel="panels", pack_input=True)
CASES = {
    "masked_panels_batch_lanes": Case(convolution(8, steps=RELU), PanelSchedule(2, 2, 2, 2, 3)),
    "masked_panels_pixel_lanes": Case(convolution(1), PanelSchedule(4, 1, 3, 4, 1)),
    "masked_panels_of_linear": Case(
        single(Linear(half(6, 8), None), (8, 8), (8, 6)), PanelSchedule(2, 1, 1, 8, 3)
    ),
    "dense_panels": Case(convolution(8), PanelSchedule(2, 1, 2, 4, 3, format="dense_panels")),
    "column_combined": Case(
        convolution(8, steps=RELU), PanelSchedule(2, 1, 2, 4, 3, format="column_combined")
    ),
    "packed_input": Case(convolution(8), PACKED),
    "permuted_rows": Case(convolution(8), PanelSchedule(2, 1, 2, 4, 3, permuted=True)),
    "split_phases": Case(convolution(1, stride=2), layer="layer#phases"),
    "winograd_batch_lanes": Case(convolution(8), TILES),
    "winograd_pixel_lanes": Case(convolution(1), TILES),
    "sparse_winograd_batch_lanes": Case(convolution(8), KEPT),
    "sparse_winograd_pixel_lanes": Case(convolution(1), replace(KEPT, permuted=True, chains=2)),
    "sparse_winograd_phases": Case(
        conv_graph(half(4, 2, 3, 3), (1, 2, 7, 19), stride=(2, 2)), replace(KEPT, chains=2)
    ),
    "winograd_phases": Case(convolution(8, stride=2), TILES),
    "grouped": Case(convolution(8, groups=2, steps=RELU), GroupedSchedule(tile_w=2, rows=2)),
    "depthwise": Case(
        convolution(8, groups=4, steps=RELU), GroupedSchedule(tile_w=2, tile_h=2, unrolled=True)
    ),
    "separable": Case(
        fused(pair(8, 4, (4, 4), 4)),
        PanelSchedule(rows=2, tile_h=1, tile_w=2, block=4, chunk=2),
        layer="pointwise",
    ),
    "linear": Case(
        single(Linear(half(20, 6), np.ones(20, np.float32)), (2, 6), (2, 20), RELU), LinearSchedule(2, 2)
    ),
    "masked_vectors": Case(
        single(Linear(half(20, 6), None), (2, 6), (2, 20)), LinearSchedule(2, 2, "masked_vectors"), "znver4"
    ),
    "lstm": layer_of(Recurrent("lstm", half(32, 8), None, False, True), (1, 3, 64), (1, 4, 8)),
    "gru": layer_of(Recurrent("gru", half(24, 8), half(8), True, False), (3, 2, 48), (3, 2, 8)),
    "lookups": Case(
        single(
            Recurrent("gru", half(24, 8) * (half(24, 8) % 5 == 0), None, False, False), (2, 2, 48), (2, 2, 8)
        ),
        cpu="znver4",
    ),
    "matmul": of_two(MatMul(), (1, 4, 6), (1, 6, 8), (1, 4, 8)),
    "matmul_transposed": of_two(
        MatMul(transpose_b=True), (1, 4, 6), (1, 8, 6), (1, 4, 8), (Step("mul", 0.5),)
    ),
    "max_pool": Case(
        single(Pool2d("max", (3, 3), (2, 2), SAME), (8, 2, 5, 5), (8, 2, 3, 3)),
        PoolSchedule(True, 1, False, True),
    ),
    "average_pool": layer_of(Pool2d("avg", (2, 2), (2, 2)), (1, 2, 4, 16), (1, 2, 2, 8)),
    "adaptive_pool": layer_of(AdaptivePool2d("avg", (2, 2)), (8, 2, 3, 5), (8, 2, 2, 2)),
    "global_average": layer_of(AdaptivePool2d("avg", (1, 1)), (8, 2, 4, 4), (8, 2, 1, 1)),
    "resample_copied": layer_of(Resample2d(copied(4), copied(4)), (1, 2, 2, 2), (1, 2, 4, 4)),
    "resample_weighted": layer_of(Resample2d(halfway(3), halfway(3)), (8, 2, 3, 3), (8, 2, 2, 2)),
    "pixel_shuffle": layer_of(PixelShuffle((2, 2)), (1, 4, 2, 4), (1, 1, 4, 8)),
    "pixel_unshuffle": layer_of(PixelUnshuffle((2, 2)), (8, 1, 4, 4), (8, 4, 2, 2)),
    "mean_across_vectors": layer_of(Mean((2, 3), False), (8, 2, 4, 4), (8, 2)),
    "mean_along_vectors": layer_of(Mean((2,), True), (1, 3, 20), (1, 3, 1)),
    "softmax_across_vectors": layer_of(Softmax(1), (1, 3, 8), (1, 3, 8)),
    "softmax_along_vectors": layer_of(Softmax(2), (1, 3, 20), (1, 3, 20)),
    "masked_softmax": layer_of(Softmax(2, zero_if_masked=True), (1, 3, 16), (1, 3, 16)),
    "log_softmax": layer_of(LogSoftmax(1), (8, 4, 3), (8, 4, 3)),
    "sum_across_vectors": layer_of(Reduce("sum", (2, 3), False), (8, 2, 4, 4), (8, 2), RELU),
    "largest_along_vectors": layer_of(Reduce("max", (2,), True), (1, 3, 20), (1, 3, 1)),
    "deviations": layer_of(Reduce("deviations", (1,), False), (8, 4, 3), (8, 3)),
    "selection": masked(8),
    "logarithm": layer_of(Identity(), (8, 2, 3), (8, 2, 3), (Step("log"),)),
    "layer_norm": layer_of(LayerNorm((2,), 1e-5), (1, 3, 16), (1, 3, 16)),
    "group_norm_batch_lanes": layer_of(GroupNorm(2, 1e-5), (8, 4, 3, 3), (8, 4, 3, 3)),
    "group_norm_pixel_lanes": layer_of(GroupNorm(2, 1e-5), (1, 4, 3, 5), (1, 4, 3, 5)),
    "local_response_norm": layer_of(LocalResponseNorm(3, 1.0, 0.75, 2.0), (1, 4, 3, 5), (1, 4, 3, 5)),
    "pointwise_batch_lanes": arithmetic(8),
    "pointwise_pixel_lanes": arithmetic(1),
    "concat": of_two(Concat(1), (8, 2, 3), (8, 1, 3), (8, 3, 3)),
    "reshape": layer_of(Reshape(), (1, 4, 6), (1, 2, 12)),
    "permute": layer_of(Permute((0, 2, 1)), (1, 4, 20), (1, 20, 4)),
    "slice": layer_of(Slice(1, 1, 2), (8, 6, 3), (8, 3, 3)),
    "gather": layer_of(Gather(1, (3, 0, 2)), (8, 4, 3), (8, 3, 3)),
    "flip": layer_of(Slice(2, 5, -1), (1, 2, 6), (1, 2, 6)),
    "pad": layer_of(Pad(((0, 0), (0, 0), (1, 2)), 0.0), (1, 2, 3), (1, 2, 6)),
    "enter_batch_lanes": edge("x", 8),
    "enter_pixel_lanes": edge("x", 1),
    "leave_batch_lanes": edge("output 0", 8),
    "leave_pixel_lanes": edge("output 0", 1),
    "copy": Case(convolution(8), layer="layer#buffer", part=("layer",)),
}
