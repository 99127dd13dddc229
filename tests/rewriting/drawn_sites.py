"""Sites of every operator that has a rule, drawn: 1 to 6 dimensions, extents of 1, broadcast both ways."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator

from sparsegen.graph import (
    BINARY,
    SELECTIONS,
    UNARY,
    AdaptivePool2d,
    Array,
    Concat,
    Core,
    Gather,
    GroupNorm,
    Identity,
    Interpolation,
    Layer,
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
    Recurrent,
    Reduce,
    Resample2d,
    Shape,
    Slice,
    Softmax,
    Step,
)
from sparsegen.rewriting.site import Interval, Site
from tests.rewriting.drawn_windows import drawn_convolution, drawn_pool, pair
from tests.rewriting.rewritings import site

ANY, POSITIVE = (-3.0, 3.0), (0.25, 4.0)
"""What values lie in: the same of all cases, so that a function is fitted once."""
_LOGARITHMS = ("log", "log2", "log10", "log1p", "sqrt", "pow", "div")
_EXTENTS = (1, 1, 2, 3, 4, 5)
_MOST = 1500  # elements
_PARAMETERS: Mapping[str, tuple[tuple[float, ...], ...]] = {
    "leaky_relu": ((0.25,), (1.5,), (-0.5,), (0.0,)),
    "clamp": ((-1.0, 2.0), (0.0, 6.0), (0.5, 0.5), (-math.inf, 1.0), (-1.0, math.inf), (2.0, -1.0)),
    "pow": ((1.0,), (3.0,), (11.0,), (0.5,), (1.5,), (-1.0,), (-2.0,), (0.25,)),
    "elu": ((1.0, 1.0, 1.0), (0.5, 2.0, 0.25)),
    "softplus": ((1.0, 20.0), (2.0, 20.0)),
    "hardshrink": ((0.5,), (0.0,)),
    "softshrink": ((0.5,), (0.0,)),
    "threshold": ((0.5, 0.5), (0.0, 0.0), (0.5, -2.0)),
    "piecewise": (
        (0.25, 0.5, -1.0, 1.0, 2.0, -1.5),
        (0.0, 0.0, 0.0, 1.0),
        (1.0, -0.25, -2.0, 0.25, 0.5, 2.0, 1.0, -2.5),
        (-1.0, 1.0, 0.5, -1.0),
    ),
}


@dataclass(frozen=True, eq=False)
class Drawn:
    """A site, and values for its inputs, in order."""

    site: Site
    values: list[torch.Tensor]


def drawn_site(operator: str, seed: int) -> Drawn:
    """A site of an operator by the name that rules know, the same for a seed."""
    generator = np.random.default_rng(seed)
    make = _CORES.get(operator, _drawn_step)
    here = make(operator, generator)
    positive = here.step is not None and operator in _LOGARITHMS
    interval = POSITIVE if positive else ANY
    names = [name for name in dict.fromkeys(here.layer.reads()) if name not in here.constants]
    values = [torch.from_numpy(generator.uniform(*interval, here.shapes[name])) for name in names]
    shapes = {name: here.shapes[name] for name in names}
    intervals: dict[str, Interval] = dict.fromkeys(names, interval)
    return Drawn(site(here.layer, shapes, here.constants, intervals), values)


def shape_of(generator: Generator, low: int = 1, high: int = 6) -> Shape:
    """Of so many dimensions, the last one included."""
    shape = [int(each) for each in generator.choice(_EXTENTS, int(generator.integers(low, high + 1)))]
    while math.prod(shape) > _MOST:
        shape[shape.index(max(shape))] = 1
    return tuple(shape)


def _broadcast(generator: Generator, shape: Shape) -> Shape:
    """A shape that is broadcast to another: dimensions left out, or of 1."""
    kept = shape[int(generator.integers(0, len(shape) + 1)) :] if generator.random() < 0.5 else shape
    return tuple(1 if generator.random() < 0.4 else extent for extent in kept)


def _numbers(generator: Generator, shape: Shape) -> Array:
    """Powers of 2, so that float32 rounds none of them nor their reciprocals."""
    found = generator.choice((-2.0, -1.0, 0.25, 0.5, 1.0, 4.0), shape)
    return np.asarray(found, np.float32)


def _array(generator: Generator, *shape: int) -> Array:
    return generator.standard_normal(shape)  # type: ignore[return-value]  # rules are tested in float64


def _drawn_step(operator: str, generator: Generator) -> Site:
    shape = shape_of(generator)
    if operator in UNARY:
        choices = _PARAMETERS.get(operator, ((),))
        step = Step(operator, parameters=choices[int(generator.integers(len(choices)))])
        return site(Layer("y", Identity(), ("x",), shape, (step,)), {"x": shape})
    assert operator in (*BINARY, *SELECTIONS)
    kind = "constant" if operator == "select" else generator.choice(["number", "constant", "value", "itself"])
    reverse = operator in ("sub", "div") and bool(generator.random() < 0.5)
    parameters = (float(generator.choice([0.0, -4.0])),) if operator == "select" else ()
    if kind in ("number", "itself"):
        number = float(generator.choice([-2.0, -1.0, 0.5, 1.0, 4.0]))
        step = Step(operator, number if kind == "number" else "x", reverse)
        return site(Layer("y", Identity(), ("x",), shape, (step,)), {"x": shape})
    both = operator in BINARY and generator.random() < 0.3
    value, other = (_broadcast(generator, shape) if both else shape), _broadcast(generator, shape)
    result = np.broadcast_shapes(value, other)
    layer = Layer("y", Identity(), ("x",), result, (Step(operator, "other", reverse, parameters),))
    if kind == "value":
        return site(layer, {"x": value, "other": other})
    numbers = _numbers(generator, other)
    if operator == "select":
        numbers = np.asarray(np.maximum(numbers, 0))
    return site(layer, {"x": value}, {"other": numbers})


def _alone(core: Core, shape: Shape, *sources: Shape, constants: dict[str, Array] | None = None) -> Site:
    inputs = {f"x{at}": source for at, source in enumerate(sources or (shape,))}
    names = (*inputs, *(constants or {}))
    return site(Layer("y", core, names, shape), inputs, constants)


def _drawn_windowed(operator: str, generator: Generator) -> Site:
    """A convolution or pooling of this name: drawn until it has it."""
    if operator.endswith("pool") and generator.random() < 0.3:
        source = (*pair(generator, 1, 4), *pair(generator, 1, 9))
        output = tuple(int(generator.integers(1, extent + 1)) for extent in source[2:])
        core = AdaptivePool2d("max" if operator == "max_pool" else "avg", (output[0], output[1]))
        return _alone(core, (*source[:2], *output), source)
    draw = drawn_pool if operator.endswith("pool") else drawn_convolution
    while True:
        found = draw(int(generator.integers(1 << 30)))
        if found.name == operator:
            return found


def _drawn_linear(_: str, generator: Generator) -> Site:
    shape, outputs = shape_of(generator), int(generator.integers(1, 5))
    bias = _array(generator, outputs) if generator.random() < 0.5 else None
    return _alone(Linear(_array(generator, outputs, shape[-1]), bias), (*shape[:-1], outputs), shape)


def _drawn_matmul(_: str, generator: Generator) -> Site:
    core = MatMul(bool(generator.random() < 0.5), bool(generator.random() < 0.5))
    rows, inner, columns = map(int, generator.integers(1, 5, 3))
    batch = shape_of(generator, 0, 4)
    batches = [_broadcast(generator, batch) if generator.random() < 0.5 else batch for _ in range(2)]
    sides = [(inner, rows) if core.transpose_a else (rows, inner)]
    sides.append((columns, inner) if core.transpose_b else (inner, columns))
    constant = str(generator.choice(["", "a", "b"]))
    if constant and generator.random() < 0.7:
        batches["ab".index(constant)] = (1,) * int(generator.integers(0, 6))
    shapes = {name: (*lead, *side) for name, lead, side in zip("ab", batches, sides, strict=True)}
    result = (*np.broadcast_shapes(*batches), rows, columns)
    constants = {constant: _array(generator, *shapes.pop(constant))} if constant else None
    return site(Layer("y", core, ("a", "b"), result), shapes, constants)


def _some(generator: Generator, count: int) -> tuple[int, ...]:
    """Some of so many dimensions, one at least, in order."""
    found = generator.permutation(count)[: int(generator.integers(1, count + 1))]
    return tuple(sorted(map(int, found)))


def _drawn_reduction(operator: str, generator: Generator) -> Site:
    shape = shape_of(generator)
    dims, keep = _some(generator, len(shape)), bool(generator.random() < 0.5)
    core = Mean(dims, keep) if operator == "mean" else Reduce(operator.removeprefix("reduce_"), dims, keep)  # type: ignore[arg-type]
    kept = [1 if dim in dims else extent for dim, extent in enumerate(shape) if keep or dim not in dims]
    return _alone(core, tuple(kept), shape)


def _drawn_softmax(operator: str, generator: Generator) -> Site:
    shape = shape_of(generator)
    dim = int(generator.integers(len(shape)))
    return _alone(Softmax(dim) if operator == "softmax" else LogSoftmax(dim), shape)


def _drawn_norm(operator: str, generator: Generator) -> Site:
    if operator == "layer_norm":
        shape = shape_of(generator)
        first = int(generator.integers(len(shape)))
        return _alone(LayerNorm(tuple(range(first, len(shape))), 1e-2, bool(generator.random() < 0.7)), shape)
    shape = (*pair(generator, 1, 4), *shape_of(generator, 1, 4))
    if operator == "local_response_norm":
        return _alone(LocalResponseNorm(int(generator.integers(1, 6)), 0.5, 0.75, 1.0), shape)
    shape = (*shape[:-1], max(2, shape[-1]))  # torch refuses groups of one element
    groups = [count for count in range(1, shape[1] + 1) if shape[1] % count == 0]
    return _alone(GroupNorm(int(generator.choice(groups)), 1e-2), shape)


def _drawn_move(operator: str, generator: Generator) -> Site:
    shape = shape_of(generator)
    dim = int(generator.integers(len(shape)))
    size = shape[dim]
    if operator == "transpose":
        dims = tuple(map(int, generator.permutation(len(shape))))
        return _alone(Permute(dims), tuple(shape[each] for each in dims), shape)
    if operator == "pad":
        amounts = tuple(pair(generator, 0, 3) if generator.random() < 0.5 else (0, 0) for _ in shape)
        padded = tuple(extent + sum(each) for extent, each in zip(shape, amounts, strict=True))
        return _alone(Pad(amounts, float(generator.choice([0.0, -1.5]))), padded, shape)
    if operator == "concat":
        sizes = [int(each) for each in generator.integers(1, 5, int(generator.integers(1, 4)))]
        parts = [(*shape[:dim], each, *shape[dim + 1 :]) for each in sizes]
        return _alone(Concat(dim), (*shape[:dim], sum(sizes), *shape[dim + 1 :]), *parts)
    if operator == "gather":
        indices = tuple(map(int, generator.integers(0, size, int(generator.integers(1, 8)))))
        return _alone(Gather(dim, indices), (*shape[:dim], len(indices), *shape[dim + 1 :]), shape)
    start, step = int(generator.integers(size)), int(generator.choice([1, 2, 3, -1, -2]))
    most = (size - 1 - start) // step if step > 0 else start // -step
    count = int(generator.integers(1, most + 2))
    return _alone(
        Slice(dim, start, step if count > 1 else 1), (*shape[:dim], count, *shape[dim + 1 :]), shape
    )


def _drawn_shuffle(operator: str, generator: Generator) -> Site:
    (down, across), (batch, channels) = pair(generator, 1, 4), pair(generator, 1, 4)
    height, width = pair(generator, 1, 4)
    deep = (batch, channels * down * across, height, width)
    flat = (batch, channels, height * down, width * across)
    if operator == "space_to_depth":
        return _alone(PixelUnshuffle((down, across)), deep, flat)
    crop = (int(generator.integers(down)), int(generator.integers(across)))
    rows, columns = (extent - start for extent, start in zip(flat[2:], crop, strict=True))
    return _alone(PixelShuffle((down, across), crop), (*flat[:2], rows, columns), deep)


def _drawn_resize(operator: str, generator: Generator) -> Site:
    """Drawn until it has this name, as few pixels need fewer neighbours."""
    mode = operator.removeprefix("resize_")
    while True:
        source, factors = (*pair(generator, 1, 4), *pair(generator, 1, 7)), pair(generator, 1, 4)
        size = tuple(map(int, generator.integers(1, 12, 2)))
        if generator.random() < 0.6:
            size = tuple(extent * factor for extent, factor in zip(source[2:], factors, strict=True))
        aligned = generator.random() < 0.3
        axes = [_axis(mode, *ends, aligned) for ends in zip(source[2:], size, strict=True)]
        found = _alone(Resample2d(axes[0], axes[1]), (*source[:2], *size), source)
        if found.name == operator:
            return found


@functools.cache
def _axis(mode: str, extent: int, size: int, aligned: bool) -> Interpolation:
    """How torch makes an axis longer or shorter, each pixel's neighbours of weight 0 left out."""
    rows = torch.eye(extent).view(extent, 1, extent, 1).expand(extent, 1, extent, 2)
    options = {} if mode == "nearest" else {"align_corners": aligned}
    matrix = F.interpolate(rows, (size, 2), mode=mode, **options)[:, 0, :, 0].T.numpy()  # type: ignore[arg-type]
    taps = max(1, int(np.count_nonzero(matrix, 1).max()))
    reads = np.sort(np.argsort(-np.abs(matrix), 1, kind="stable")[:, :taps], 1)
    return Interpolation(reads.astype(np.int32), np.take_along_axis(matrix, reads, 1))


def _drawn_recurrent(operator: str, generator: Generator) -> Site:
    kind, gates = ("lstm", 4) if operator == "lstm" else ("gru", 3)
    batch, steps, hidden = map(int, generator.integers(1, 4, 3))
    padded = hidden + int(generator.integers(0, 3))
    bias = _array(generator, hidden) if kind == "gru" and generator.random() < 0.5 else None
    keeps = kind == "lstm" and bool(generator.random() < 0.3)
    weight = _array(generator, gates * hidden, hidden)
    core = Recurrent(kind, weight, bias, bool(generator.random() < 0.5), keeps)  # type: ignore[arg-type]
    states = ([(batch, hidden)] * (2 if kind == "lstm" else 1)) if generator.random() < 0.5 else []
    return _alone(core, (batch, steps + keeps, hidden), (batch, steps, gates * padded), *states)


_CORES: Mapping[str, Callable[[str, Generator], Site]] = {
    **dict.fromkeys(("conv", "depthwise_conv", "grouped_conv", "max_pool", "avg_pool"), _drawn_windowed),
    "linear": _drawn_linear,
    "matmul": _drawn_matmul,
    "mean": _drawn_reduction,
    **dict.fromkeys(
        (f"reduce_{kind}" for kind in ("sum", "max", "min", "squares", "magnitudes", "deviations")),
        _drawn_reduction,
    ),
    **dict.fromkeys(("softmax", "log_softmax"), _drawn_softmax),
    **dict.fromkeys(("layer_norm", "group_norm", "local_response_norm"), _drawn_norm),
    **dict.fromkeys(("transpose", "pad", "concat", "gather", "slice"), _drawn_move),
    **dict.fromkeys(("pixel_shuffle", "space_to_depth"), _drawn_shuffle),
    **dict.fromkeys(("resize_nearest", "resize_bilinear", "resize_bicubic"), _drawn_resize),
    **dict.fromkeys(("lstm", "gru"), _drawn_recurrent),
}
