"""The contract that every kernel and format keeps: its layers, its weights, how a case is checked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from sparsegen.compiler import compile_graph
from sparsegen.graph import Conv2d, Layer, LayerGraph, Linear, Shape, Step
from tests.reference import evaluate

Array = NDArray[np.float32]
TOLERANCE = 1e-5  # of the largest result: what single precision leaves of sums this short


def check(graph: LayerGraph, *, seed: int = 0, tolerance: float = TOLERANCE, **options: object) -> None:
    """The compiled graph gives the reference's results, twice in a row."""
    generator = torch.Generator().manual_seed(seed)
    inputs = tuple(torch.randn(shape, generator=generator) for shape in graph.inputs.values())
    expected = evaluate(graph, inputs)
    model = compile_graph(graph, **options)  # type: ignore[arg-type]
    for _ in range(2):
        result = model(*inputs)
        assert result.shape == expected[0].shape
        error = (result.double() - expected[0]).abs().max()
        assert error <= tolerance * max(1.0, float(expected[0].abs().max()))


def single(core: object, source: Shape, out: Shape, epilogue: tuple[Step, ...] = ()) -> LayerGraph:
    """A graph of one layer that reads the graph's input `x`."""
    layer = Layer("layer", core, ("x",), out, epilogue)  # type: ignore[arg-type]
    return LayerGraph({"x": source}, [layer], ("layer",))


def conv_graph(
    weight: Array,
    source: Shape,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    epilogue: tuple[Step, ...] = (),
) -> LayerGraph:
    """A convolution with a bias, on an input of shape `source`."""
    bias = np.linspace(-1, 1, len(weight), dtype=np.float32)
    conv = Conv2d(weight, bias, stride, padding, dilation, groups)
    extents = [
        (source[2 + i] + padding[2 * i] + padding[2 * i + 1] - dilation[i] * (weight.shape[2 + i] - 1) - 1)
        // stride[i]
        + 1
        for i in range(2)
    ]
    return single(conv, source, (source[0], len(weight), *extents), epilogue)


def _drop_rows(weight: Array, rows: slice) -> Array:
    weight[rows] = 0
    return weight


def _drop_columns(weight: Array) -> Array:
    weight[:, ::2] = 0
    return weight


def _one(weight: Array) -> Array:
    kept = np.zeros_like(weight)
    kept.reshape(-1)[weight.size // 2] = 1.5
    return kept


# Weights by what they put a kernel or a format to: each takes dense ones.
WEIGHTS: dict[str, Callable[[Array], Array]] = {
    "dense": lambda weight: weight,
    "half": lambda weight: weight * (np.random.default_rng(1).random(weight.shape) < 0.5),
    "tenth": lambda weight: weight * (np.random.default_rng(1).random(weight.shape) < 0.1),
    "vectors": lambda weight: (
        weight * (np.arange(weight.shape[1]) % 2).reshape(1, -1, *[1] * (weight.ndim - 2))
    ),
    "empty rows": lambda weight: _drop_rows(weight, slice(1, None, 2)),
    "empty panels": lambda weight: _drop_rows(weight, slice(0, 8)),
    "empty columns": _drop_columns,
    "one weight": _one,
    "all zero": np.zeros_like,
}


def weights(shape: Shape, kind: str = "half") -> Array:
    """Seeded weights of a kind."""
    dense = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return WEIGHTS[kind](dense).astype(np.float32)


# Layers by what they put a kernel to: each takes a batch.
LAYERS: dict[str, Callable[[int], LayerGraph]] = {
    "3x3": lambda n: conv_graph(weights((13, 7, 3, 3)), (n, 7, 9, 10), padding=(1, 1, 1, 1)),
    "3x3 stride 2": lambda n: conv_graph(
        weights((13, 7, 3, 3)), (n, 7, 9, 10), stride=(2, 2), padding=(1, 1, 1, 1)
    ),
    "3x3 without padding": lambda n: conv_graph(weights((9, 5, 3, 3)), (n, 5, 8, 8)),
    "3x3 dilated": lambda n: conv_graph(
        weights((6, 5, 3, 3)), (n, 5, 9, 9), padding=(2, 2, 2, 2), dilation=(2, 2)
    ),
    "1x1": lambda n: conv_graph(weights((17, 33, 1, 1)), (n, 33, 5, 5)),
    "1x1 stride 2": lambda n: conv_graph(weights((8, 6, 1, 1)), (n, 6, 7, 7), stride=(2, 2)),
    "uneven": lambda n: conv_graph(
        weights((5, 3, 2, 5)), (n, 3, 11, 6), stride=(3, 1), padding=(0, 1, 3, 1), dilation=(1, 2)
    ),
    "one pixel": lambda n: conv_graph(weights((20, 40, 1, 1)), (n, 40, 1, 1)),
    "grouped": lambda n: conv_graph(
        weights((12, 3, 3, 3)), (n, 6, 7, 7), padding=(1, 1, 1, 1), groups=2, epilogue=(Step("relu"),)
    ),
    "depthwise": lambda n: conv_graph(
        weights((9, 1, 3, 3), "dense"), (n, 9, 8, 8), stride=(2, 2), padding=(1, 1, 1, 1), groups=9
    ),
    "linear": lambda n: single(Linear(weights((19, 37)), None), (n, 37), (n, 19)),
    "linear of a sequence": lambda n: single(Linear(weights((19, 37)), None), (n, 6, 37), (n, 6, 19)),
}
