"""Sites of convolutions and pooling, drawn: odd sizes, strides, uneven padding, dilation, groups, batches."""

from __future__ import annotations

import functools

import numpy as np

from sparsegen.graph import Conv2d, Layer, Pool2d
from sparsegen.rewriting.site import Site
from tests.rewriting.rewritings import site


def pair(generator: np.random.Generator, low: int, high: int) -> tuple[int, int]:
    """Two numbers, from low to below high."""
    first, second = map(int, generator.integers(low, high, 2))
    return first, second


def four(generator: np.random.Generator, high: int) -> tuple[int, int, int, int]:
    """Padding of at most `high` a side."""
    top, bottom, left, right = map(int, generator.integers(0, high + 1, 4))
    return top, bottom, left, right


def windows(core: Conv2d | Pool2d, kernel: tuple[int, int], pixels: tuple[int, int], ceil: bool) -> list[int]:
    """How many windows there are down and across; where `ceil`, with the last ones that do not fit whole."""
    found = []
    for axis in range(2):
        before, after = core.padding[2 * axis : 2 * axis + 2]
        room = pixels[axis] + before + after - core.dilation[axis] * (kernel[axis] - 1) - 1
        stride = core.stride[axis]
        count = -(-room // stride) + 1 if ceil else room // stride + 1
        while ceil and (count - 1) * stride >= pixels[axis] + before:
            count -= 1
        found.append(count)
    return found


@functools.cache  # all rules share them
def drawn_convolution(seed: int) -> Site:
    """A convolution of some kind."""
    generator = np.random.default_rng(seed)
    groups, inputs = ((1, 3), (2, 2), (3, 1))[int(generator.integers(3))]
    outputs = groups * int(generator.integers(1, 3))
    kernel, pixels, batch = pair(generator, 1, 8), pair(generator, 8, 20), int(generator.integers(1, 4))
    weight = generator.standard_normal((outputs, inputs, *kernel))
    bias = generator.standard_normal(outputs) if generator.random() < 0.7 else None
    core = Conv2d(
        weight,  # type: ignore[arg-type]  # rules are tested in float64
        bias,  # type: ignore[arg-type]
        pair(generator, 1, 4) if generator.random() < 0.6 else (1, 1),
        four(generator, 3) if generator.random() < 0.7 else (0, 0, 0, 0),
        pair(generator, 1, 4) if generator.random() < 0.4 and max(kernel) <= 3 else (1, 1),
        groups,
    )
    counts = windows(core, kernel, pixels, ceil=False)
    layer = Layer("y", core, ("x",), (batch, outputs, *counts))
    return site(layer, {"x": (batch, groups * inputs, *pixels)})


def drawn_pool(seed: int) -> Site:
    """Pooling of some kind; padding is at most half of a window."""
    generator = np.random.default_rng(seed)
    kernel, pixels = pair(generator, 1, 8), pair(generator, 14, 24)
    batch, channels = pair(generator, 1, 4)
    kind = "max" if generator.random() < 0.5 else "avg"
    dilated = kind == "max" and generator.random() < 0.3 and max(kernel) < 5
    sides = [int(generator.integers(0, kernel[side // 2] // 2 + 1)) for side in range(4)]
    if generator.random() < 0.5:
        sides = [sides[0], sides[0], sides[2], sides[2]]
    core = Pool2d(
        "max" if kind == "max" else "avg",
        kernel,
        kernel if generator.random() < 0.2 else pair(generator, 1, 4),
        (sides[0], sides[1], sides[2], sides[3]) if generator.random() < 0.7 else (0, 0, 0, 0),
        pair(generator, 1, 3) if dilated else (1, 1),
        bool(generator.random() < 0.5),
        5 if generator.random() < 0.2 else None,
    )
    counts = windows(core, kernel, pixels, ceil=bool(generator.random() < 0.4))
    layer = Layer("y", core, ("x",), (batch, channels, *counts))
    return site(layer, {"x": (batch, channels, *pixels)})
