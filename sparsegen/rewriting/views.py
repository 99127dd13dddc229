"""Values as images, and back: pointwise work for convolutions of 1x1, on values of any shape.

A reshape costs nothing on most devices, as elements stay in row-major order.
"""

from __future__ import annotations

import math

import numpy as np

from sparsegen.graph import Array, Concat, Conv2d, Reshape, Shape
from sparsegen.rewriting.draft import Draft


def reshaped(draft: Draft, value: str, shape: Shape) -> str:
    """The value in a shape of as many elements; itself where it has that shape."""
    return value if draft.shape(value) == shape else draft.add(Reshape(), value, shape)


def image_shape(shape: Shape) -> Shape:
    """[N, C, H, W] of as many elements: of an image itself; else the last dimensions become one, or are 1."""
    padded = (*(1 for _ in range(2 - len(shape))), *shape, 1, 1)
    return (*padded[:3], math.prod(padded[3:]))


def plane_shape(shape: Shape) -> Shape:
    """[1, 1, P, Q] of as many elements: one channel, for what treats all elements alike."""
    return (1, 1, math.prod(shape[:-1]), math.prod(shape[-1:]))


def channels_shape(shape: Shape, varying: Shape) -> tuple[Shape, int, int]:
    """[N, C, H, W] of as many elements, in whose C a constant of shape `varying`, broadcast, varies alone.

    Also the dimensions that C is of, the first and the one after the last.
    """
    aligned = (*(1 for _ in range(len(shape) - len(varying))), *varying)
    dims = [dim for dim, extent in enumerate(aligned) if extent > 1]
    first, end = (dims[0], dims[-1] + 1) if dims else (0, 0)
    if len(shape) == 4 and (first, end) == (1, 2):
        return shape, first, end
    sizes = (math.prod(shape[:first]), math.prod(shape[first:end]), math.prod(shape[end:]))
    return (*sizes, 1), first, end


def pointwise_conv(draft: Draft, image: str, weight: Array, bias: Array | None, groups: int = 1) -> str:
    """A convolution of 1x1 of an image [N, C, H, W]; weight [K, C / groups]."""
    batch, _, height, width = draft.shape(image)
    offset = bias if bias is not None and np.any(bias) else None
    core = Conv2d(weight[:, :, None, None], offset, groups=groups)
    return draft.add(core, image, (batch, len(weight), height, width))


def stacked(draft: Draft, values: list[str]) -> str:
    """Values of one shape as the channels of an image [1, len(values), P, Q]."""
    _, _, height, width = shape = plane_shape(draft.shape(values[0]))
    planes = [reshaped(draft, value, shape) for value in values]
    return planes[0] if len(planes) == 1 else draft.add(Concat(1), planes, (1, len(planes), height, width))
