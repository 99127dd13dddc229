"""Transpositions, and the shuffles of pixels that are made of them, by reshapes, slices and convolutions.

A transposition leaves some first dimensions as they are, A, then changes neighbouring blocks B and C of
dimensions with each other, and leaves the last, D: [A, B, C, D] to [A, C, B, D]. Others are several such.
"""

from __future__ import annotations

import math

import numpy as np

from sparsegen.graph import Conv2d, Permute, PixelShuffle, PixelUnshuffle, Shape
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import MOST_WEIGHTS, along, check_parts, convolved, joined, selection, sliced
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import reshaped


@rule("transposition by reshape", "transpose")
def transpose_by_reshape(site: Site, draft: Draft) -> str:
    """Dimensions above 1 keep their order."""
    kept = [dim for dim in _dims(site) if site.input_shape[dim] > 1]
    if kept != sorted(kept):
        raise RefusalError("dimensions above 1 change their order")
    return reshaped(draft, site.input, site.shape)


@rule("transposition by slices", "transpose")
def transpose_by_slices(site: Site, draft: Draft) -> str:
    """Parts of the smaller block, one after the other."""
    before, first, second, after = _blocks(site)
    check_parts(min(first, second), "slices")
    if first <= second:
        rows = reshaped(draft, site.input, (before, first, second * after))
        parts = [sliced(draft, rows, 1, at, 1) for at in range(first)]
        parts = [reshaped(draft, part, (before * second, 1, after)) for part in parts]
    else:
        rows = reshaped(draft, site.input, (before * first, second, after))
        parts = [sliced(draft, rows, 1, at, 1) for at in range(second)]
        parts = [reshaped(draft, part, (before, 1, first * after)) for part in parts]
    return reshaped(draft, joined(draft, parts, 1), site.shape)


@rule("transposition by 1x1 convolution", "transpose")
def transpose_by_channels(site: Site, draft: Draft) -> str:
    """Both blocks as channels, which a convolution puts into order."""
    before, first, second, after = _blocks(site)
    if (first * second) ** 2 > MOST_WEIGHTS:
        raise RefusalError(f"it would take {(first * second) ** 2:,} weights")
    rows = reshaped(draft, site.input, (before, first * second, after))
    order = np.arange(first * second).reshape(first, second).T.ravel()
    matrix = selection(draft, list(map(int, order)), first * second)
    return reshaped(draft, along(draft, rows, 1, matrix), site.shape)


@rule("transposition of matrices by convolution", "transpose")
def transpose_by_rows(site: Site, draft: Draft) -> str:
    """A kernel as wide as a row, of whose elements each output channel takes one."""
    before, first, second, after = _blocks(site)
    if after != 1:
        raise RefusalError("its last dimension stays the last")
    if second**2 > MOST_WEIGHTS:
        raise RefusalError(f"it would take {second**2:,} weights")
    image = reshaped(draft, site.input, (before, 1, first, second))
    made = convolved(draft, image, Conv2d(draft.array(np.eye(second))[:, None, None, :], None))
    return reshaped(draft, made, site.shape)


@rule("transposition in two", "transpose")
def transpose_in_two(site: Site, draft: Draft) -> str:
    """The first dimension that is elsewhere is moved to its place; the others follow."""
    dims, shape = _large(site)
    if _exchanged(dims) is not None or list(dims) == sorted(dims):
        raise RefusalError("it is a single exchange of two blocks of dimensions")
    place = next(at for at, dim in enumerate(dims) if at != dim)
    moved = (*range(place), dims[place], *(dim for dim in range(place, len(dims)) if dim != dims[place]))
    value = reshaped(draft, site.input, shape)
    value = draft.add(Permute(moved), value, tuple(shape[dim] for dim in moved))
    rest = tuple(moved.index(dim) for dim in dims)
    value = draft.add(Permute(rest), value, tuple(shape[dim] for dim in dims))
    return reshaped(draft, value, site.shape)


@rule("pixel shuffle by transposition", "pixel_shuffle")
def shuffle_by_transposition(site: Site, draft: Draft) -> str:
    """Factors as dimensions of their own, moved behind rows and columns."""
    core = site.core
    assert isinstance(core, PixelShuffle)
    (down, across), (batch, channels, height, width) = core.factors, site.input_shape
    groups = channels // (down * across)
    parts = reshaped(draft, site.input, (batch, groups, down, across, height, width))
    made = draft.add(Permute((0, 1, 4, 2, 5, 3)), parts, (batch, groups, height, down, width, across))
    made = reshaped(draft, made, (batch, groups, height * down, width * across))
    for dim, start in zip((2, 3), core.crop, strict=True):
        made = sliced(draft, made, dim, start, site.shape[dim])
    return made


@rule("space to depth by transposition", "space_to_depth")
def unshuffle_by_transposition(site: Site, draft: Draft) -> str:
    """Factors as dimensions of their own, moved before rows and columns."""
    core = site.core
    assert isinstance(core, PixelUnshuffle)
    (down, across), (batch, channels, height, width) = core.factors, site.input_shape
    rows, columns = height // down, width // across
    parts = reshaped(draft, site.input, (batch, channels, rows, down, columns, across))
    made = draft.add(Permute((0, 1, 3, 5, 2, 4)), parts, (batch, channels, down, across, rows, columns))
    return reshaped(draft, made, site.shape)


@rule("space to depth by strided convolution", "space_to_depth")
def unshuffle_by_convolution(site: Site, draft: Draft) -> str:
    """A kernel as large as its step, of whose pixels each output channel takes one."""
    core = site.core
    assert isinstance(core, PixelUnshuffle)
    (down, across), channels = core.factors, site.input_shape[1]
    one = np.eye(down * across).reshape(-1, 1, down, across)
    weight = draft.array(np.tile(one, (channels, 1, 1, 1)))
    return convolved(draft, site.input, Conv2d(weight, None, core.factors, groups=channels))


def _dims(site: Site) -> tuple[int, ...]:
    assert isinstance(site.core, Permute)
    return site.core.dims


def _large(site: Site) -> tuple[tuple[int, ...], Shape]:
    """The transposition and the shape without dimensions of 1."""
    large = [dim for dim, extent in enumerate(site.input_shape) if extent > 1]
    dims = tuple(large.index(dim) for dim in _dims(site) if dim in large)
    return dims, tuple(site.input_shape[dim] for dim in large)


def _exchanged(dims: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Where the two blocks that change places begin, part and end; None where it is no such exchange."""
    place = next((at for at, dim in enumerate(dims) if at != dim), len(dims))
    if place == len(dims):
        return None
    middle = dims[place]
    length = next(at for at, dim in enumerate(dims) if dim == place) - place
    end = middle + length
    exchanged = (*range(place), *range(middle, end), *range(place, middle), *range(end, len(dims)))
    return (place, middle, end) if exchanged == dims else None


def _blocks(site: Site) -> tuple[int, int, int, int]:
    """Elements of A, B, C and D."""
    dims, shape = _large(site)
    found = _exchanged(dims)
    if found is None:
        raise RefusalError("it is no single exchange of two blocks of dimensions")
    place, middle, end = found
    before, first, second, after = (
        math.prod(shape[start:stop])
        for start, stop in ((0, place), (place, middle), (middle, end), (end, len(shape)))
    )
    return before, first, second, after
