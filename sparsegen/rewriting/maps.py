"""What rules on shapes share: reshapes, slices, windows that reach past an image, and linear maps.

A linear map of a dimension is a 1x1 convolution whose channels that dimension is. Where its weights are 0,
infinities become NaN, as 0 times infinity is: rules compute the same for finite values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from sparsegen.graph import Array, Concat, Conv2d, Gather, Pool2d, Shape, Slice
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.rule import RefusalError
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import reshaped

MOST_WEIGHTS = 1 << 22
"""Of a convolution that moves elements, zeros included: in int8 more than half of an EdgeTPU's cache."""
MOST_PARTS = 128
"""That a rule cuts a value into: each is an operator or more."""


def with_extent(shape: Shape, dim: int, extent: int) -> Shape:
    """The shape with another extent of one dimension."""
    return (*shape[:dim], extent, *shape[dim + 1 :])


def reduced_shape(shape: Shape, dims: Collection[int]) -> Shape:
    """The shape with one element along each of these dimensions."""
    return tuple(1 if dim in dims else extent for dim, extent in enumerate(shape))


def conv_of(site: Site) -> Conv2d:
    """The core of a convolution."""
    assert isinstance(site.core, Conv2d)
    return site.core


def pool_of(site: Site) -> Pool2d:
    """The core of pooling. Raises RefusalError for an adaptive one."""
    if not isinstance(site.core, Pool2d):
        raise RefusalError("its windows are chosen for the size of its result")
    return site.core


def sliced(draft: Draft, value: str, dim: int, start: int, count: int, step: int = 1) -> str:
    """`count` elements along a dimension; the value itself where these are all."""
    shape = draft.shape(value)
    step = step if count > 1 else 1
    if (start, count, step) == (0, shape[dim], 1):
        return value
    return draft.add(Slice(dim, start, step), value, with_extent(shape, dim, count))


def taken(draft: Draft, value: str, dim: int, indices: Sequence[int]) -> str:
    """Elements along a dimension: a slice where the indices rise evenly."""
    steps = {after - before for before, after in itertools.pairwise(indices)} or {1}
    if len(steps) == 1 and min(steps) > 0:
        return sliced(draft, value, dim, indices[0], len(indices), min(steps))
    shape = with_extent(draft.shape(value), dim, len(indices))
    return draft.add(Gather(dim, tuple(map(int, indices))), value, shape)


def joined(draft: Draft, parts: Sequence[str], dim: int) -> str:
    """The parts, one after the other along a dimension."""
    if len(parts) == 1:
        return parts[0]
    extent = sum(draft.shape(part)[dim] for part in parts)
    return draft.add(Concat(dim), parts, with_extent(draft.shape(parts[0]), dim, extent))


def with_edges(draft: Draft, value: str, dim: int, before: int, after: int) -> str:
    """The value between so many copies of its first and of its last elements along a dimension."""
    last = draft.shape(value)[dim] - 1
    first_copies = [sliced(draft, value, dim, 0, 1)] * before if before else []
    last_copies = [sliced(draft, value, dim, last, 1)] * after if after else []
    return joined(draft, [*first_copies, value, *last_copies], dim)


def convolved(draft: Draft, image: str, core: Conv2d) -> str:
    """A convolution of an image [N, C, H, W]."""
    _, _, height, width = map(int, core.weight.shape)
    batch, _, *pixels = draft.shape(image)
    return draft.add(core, image, (batch, len(core.weight), *_windows(core, (height, width), pixels)))


def pooled(draft: Draft, image: str, core: Pool2d) -> str:
    """Pooling of an image [N, C, H, W], where windows that do not fit are left out."""
    batch, channels, *pixels = draft.shape(image)
    return draft.add(core, image, (batch, channels, *_windows(core, core.kernel, pixels)))


def _windows(core: Conv2d | Pool2d, kernel: tuple[int, int], pixels: Sequence[int]) -> Shape:
    top, bottom, left, right = core.padding
    sizes = zip(pixels, (top + bottom, left + right), kernel, core.dilation, core.stride, strict=True)
    return tuple(
        (size + padding - dilation * (extent - 1) - 1) // stride + 1
        for size, padding, extent, dilation, stride in sizes
    )


def along(draft: Draft, value: str, dim: int, matrix: Array, bias: Array | None = None) -> str:
    """Element i of a dimension becomes the sum over j of matrix[i, j] times element j, plus bias[i]."""
    if matrix.size > MOST_WEIGHTS:
        raise RefusalError(f"a convolution along dimension {dim} would take {matrix.size:,} weights")
    shape = draft.shape(value)
    before, after = shape[:dim], shape[dim + 1 :]
    as_image = shape if (len(shape), dim) == (4, 1) else (math.prod(before), shape[dim], math.prod(after), 1)
    image = reshaped(draft, value, as_image)
    made = convolved(draft, image, Conv2d(matrix[:, :, None, None], bias))
    return reshaped(draft, made, (*before, len(matrix), *after))


def selection(draft: Draft, indices: Sequence[int], extent: int) -> Array:
    """The matrix whose row i takes element indices[i] of so many."""
    if len(indices) * extent > MOST_WEIGHTS:
        raise RefusalError(f"a convolution would take {len(indices) * extent:,} weights")
    matrix = draft.array(np.zeros((len(indices), extent)))
    matrix[range(len(indices)), list(indices)] = 1
    return matrix


@dataclass(frozen=True)
class Span:
    """What of a dimension is read from `before` elements before its start, and what is padding around it."""

    start: int
    count: int
    before: int
    after: int


def span(size: int, before: int, length: int) -> Span | None:
    """`length` elements that begin `before` a dimension of `size`; None where all are padding."""
    start, stop = max(0, -before), min(size, length - before)
    if stop <= start:
        return None
    return Span(start, stop - start, max(0, before), max(0, length - before - size))


def check_parts(count: int, what: str) -> None:
    """Raise RefusalError where a value would be cut into too many parts."""
    if count > MOST_PARTS:
        raise RefusalError(f"it would take {count} {what}, and {MOST_PARTS} are the most")
