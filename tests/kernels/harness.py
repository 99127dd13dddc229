"""One layer's kernel on its own: buffers packed by hand, NaN wherever the kernel must not look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsegen.graph import Array, Core, Layer, LayerGraph, Shape, Step
from sparsegen.kernels.operands import Constant, Operand, Value
from sparsegen.kernels.registry import Context, build_kernel
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import Halo, Layout, plan_layout
from sparsegen.lowering.pipeline import generate, lower
from sparsegen.target import parse_target
from tests.reference import evaluate

Builder = Callable[[Layer, Context], Kernel]

UNTOUCHED = np.float32(-12345.0)  # what the output's buffer holds before the kernel runs


@dataclass(frozen=True)
class Setting:
    """How the tensors of a test lie, and the CPU that its kernel is for."""

    batch: int
    batch_lanes: bool
    target: str = "native"
    halo: Halo = field(default_factory=Halo)
    threads: int = 2

    def layout(self, shape: Shape) -> Layout:
        """Layout of a tensor."""
        lanes = parse_target(self.target).lanes
        return plan_layout(shape, lanes=lanes, batch_lanes=self.batch_lanes, halo=self.halo)


def one_layer(
    core: Core,
    inputs: dict[str, Shape],
    shape: Shape,
    epilogue: tuple[Step, ...] = (),
    constants: dict[str, Array] | None = None,
) -> LayerGraph:
    """The graph of a layer that reads the inputs in their order, as far as the epilogue does not."""
    operands = {step.operand for step in epilogue}
    reads = tuple(name for name in inputs if name not in operands)
    layer = Layer("result", core, reads, shape, epilogue)
    return LayerGraph(inputs, [layer], ("result",), constants or {})


def run_layer(
    graph: LayerGraph, inputs: tuple[torch.Tensor, ...], setting: Setting, builder: Builder = build_kernel
) -> torch.Tensor:
    """The value that the kernel of the graph's only layer computes.

    Asserts that the kernel writes zero between an image's rows, and nothing outside its output.
    """
    (layer,) = graph.layers
    operands: dict[str, Operand] = {name: Constant(name, array) for name, array in graph.constants.items()}
    operands |= {n: Value(n, setting.layout(s)) for n, s in graph.shapes().items() if n not in operands}
    context = Context(operands, parse_target(setting.target), setting.threads)
    kernel = builder(layer, context)
    values = dict(zip(graph.inputs, inputs, strict=True))
    arguments = [
        packed(values[a].numpy(), setting.layout(graph.inputs[a])) if isinstance(a, str) else aligned(a)
        for a in kernel.arguments
    ]
    out = aligned(np.full(kernel.store.shape, UNTOUCHED, np.float32))
    compiled(kernel, setting)(*arguments, out)
    layout = setting.layout(layer.shape)
    check_outside(out.numpy(), layout)
    return torch.from_numpy(unpacked(out.numpy(), layout))


def compiled(kernel: Kernel, setting: Setting) -> Any:
    """The kernel's function, callable with torch tensors."""
    lowered = lower(kernel.module, kernel.store, kernel.store.shape)
    return generate(lowered, parse_target(setting.target))["main"]


def aligned(array: NDArray[Any]) -> torch.Tensor:
    """A copy that torch allocates, on a cache line's boundary, as the compiled model's arena is."""
    return torch.from_numpy(array).clone()


def positions(layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(group, address) of every element of the logical tensor."""
    index = np.indices(layout.shape or (1,))
    if not layout.batch_lanes:
        return index[0], np.asarray(layout.address(tuple(index[1:])) + 0 * index[0])
    return index[0] // layout.lanes, layout.address(tuple(index[1:]), index[0] % layout.lanes)


def packed(array: NDArray[np.float32], layout: Layout) -> torch.Tensor:
    """The buffer of a tensor, with NaN in place of halos and padding."""
    buffer = np.full((layout.groups, layout.size), np.nan, np.float32)
    buffer[positions(layout)] = array.reshape(layout.shape or (1,))
    return aligned(buffer)


def unpacked(buffer: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """The tensor in a buffer."""
    return buffer[positions(layout)].reshape(layout.shape)


def check_outside(buffer: NDArray[np.float32], layout: Layout) -> None:
    """Zeros between the rows of an image with pixel lanes; elsewhere outside, nothing was written.

    Lanes past the batch, and the padding that makes other rows whole vectors, may hold anything.
    """
    if not layout.is_image and not layout.batch_lanes:
        return
    rest = buffer.copy()
    if layout.batch_lanes:
        whole = replace(layout, shape=(layout.groups * layout.lanes, *layout.shape[1:]))
        rest[positions(whole)] = UNTOUCHED
    else:
        rest[positions(layout)] = UNTOUCHED
        extended = replace(layout, shape=(*layout.shape[:3], layout.row))
        between = tuple(index[..., layout.shape[3] :] for index in positions(extended))
        assert np.all(rest[between] == 0.0), "the halo between rows is not zero"
        rest[between] = UNTOUCHED
    assert np.all(rest == UNTOUCHED), "the kernel wrote outside its output"


def assert_matches(
    graph: LayerGraph, setting: Setting, builder: Builder = build_kernel, *, tolerance: float = 2e-6
) -> None:
    """The kernel of the graph's only layer agrees with the float64 evaluator on random inputs."""
    inputs = tuple(random_tensor(shape, seed) for seed, shape in enumerate(graph.inputs.values()))
    (expected,) = evaluate(graph, inputs)
    actual = run_layer(graph, inputs, setting, builder)
    torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)


def random_tensor(shape: Shape, seed: int = 0) -> torch.Tensor:
    """Normal float32 values."""
    return torch.from_numpy(
        np.random.default_rng(seed).normal(size=max(1, prod(shape))).astype(np.float32)
    ).view(shape)
