"""Max pooling by smaller, unstrided, unpadded or undilated pooling, or by maxima of slices.

A window that reaches past an image's edge contains the row at that edge, unless it is dilated. So copies of
that row may stand where the padding is, and no number has to stand for negative infinity.
"""

from __future__ import annotations

from dataclasses import replace

from sparsegen.graph import Pool2d
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import check_parts, pool_of, pooled, sliced, taken, with_edges
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site


@rule("large max pooling by two smaller ones", "max_pool", within_limits=True)
def large_max_in_two(site: Site, draft: Draft) -> str:
    """The maxima of smaller windows, of neighbours of which the maxima are taken."""
    core = pool_of(site)
    if max(core.kernel) <= 2:
        raise RefusalError("its window has at most two rows and columns")
    if core.dilation != (1, 1):
        raise RefusalError("it is dilated")
    first = [-(-extent // 2) if extent > 2 else 1 for extent in core.kernel]
    second = [extent - part + 1 for extent, part in zip(core.kernel, first, strict=True)]
    whole = Pool2d("max", (first[0], first[1]), (1, 1), _to_the_end(site, core))
    made = pooled(draft, site.input, whole)
    return pooled(draft, made, Pool2d("max", (second[0], second[1]), core.stride))


@rule("strided max pooling by slices", "max_pool", within_limits=True)
def strided_max_by_slices(site: Site, draft: Draft) -> str:
    """All windows, of which a slice takes every n-th."""
    core = pool_of(site)
    if core.stride == (1, 1):
        raise RefusalError("it has no stride")
    whole = replace(core, stride=(1, 1), padding=_to_the_end(site, core))
    made = pooled(draft, site.input, whole)
    for dim, stride in zip((2, 3), core.stride, strict=True):
        made = sliced(draft, made, dim, 0, site.shape[dim], stride)
    return made


@rule("padding of max pooling by its edges", "max_pool", within_limits=True)
def padding_by_edges(site: Site, draft: Draft) -> str:
    """The first and last rows and columns again, in place of padding and of what lies past it."""
    core, value = pool_of(site), site.input
    if core.dilation != (1, 1):
        raise RefusalError("it is dilated, so that its windows may miss the edge")
    for axis, dim in enumerate((2, 3)):
        before, after = core.padding[2 * axis : 2 * axis + 2]
        after = max(0, after + _past(site, core, axis))
        if max(before, after) >= core.kernel[axis]:
            raise RefusalError("its padding is as large as its window")
        value = with_edges(draft, value, dim, before, after)
    if value == site.input:
        raise RefusalError("it has no padding")
    return pooled(draft, value, replace(core, padding=(0, 0, 0, 0)))


@rule("uneven padding by a larger max pooling", "max_pool", within_limits=True)
def padding_by_slices(site: Site, draft: Draft) -> str:
    """As much padding before as after; a slice leaves out the windows that are too many."""
    core = pool_of(site)
    whole, sides, extra = _to_the_end(site, core), list[int](), list[int]()
    for axis in range(2):
        before, after = whole[2 * axis : 2 * axis + 2]
        extra.append(max(0, -(-(after - before) // core.stride[axis])))
        sides.append(before + extra[axis] * core.stride[axis])
    padding = (sides[0], sides[0], sides[1], sides[1])
    if padding == core.padding:
        raise RefusalError("its padding is as much before as after")
    made = pooled(draft, site.input, replace(core, padding=padding))
    made = sliced(draft, made, 2, extra[0], site.shape[2])
    return sliced(draft, made, 3, extra[1], site.shape[3])


@rule("max pooling by maxima of slices", "max_pool")
def max_of_slices(site: Site, draft: Draft) -> str:
    """Rows first, then columns: one element of each window at a time; what is padding, another of it."""
    core, value = pool_of(site), site.input
    check_parts(sum(core.kernel), "slices")
    for axis, dim in enumerate((2, 3)):
        size, windows = site.input_shape[dim], _windows(site, core, axis)
        if not all(windows):
            raise RefusalError("a window sees nothing but padding")
        best = ""
        for place in range(core.kernel[axis]):
            indices = _choice(core, axis, place, windows)
            if not best and indices == list(range(size)):
                best = value
                continue
            part = taken(draft, value, dim, indices)
            best = draft.step(best, "maximum", part) if best else part
        value = best
    return value


def _windows(site: Site, core: Pool2d, axis: int) -> list[list[int]]:
    """The rows or columns that each window contains."""
    kernel, stride, dilation = core.kernel[axis], core.stride[axis], core.dilation[axis]
    starts = [at * stride - core.padding[2 * axis] for at in range(site.shape[axis + 2])]
    size = site.input_shape[axis + 2]
    return [
        [row for row in range(start, start + dilation * kernel, dilation) if 0 <= row < size]
        for start in starts
    ]


def _choice(core: Pool2d, axis: int, place: int, windows: list[list[int]]) -> list[int]:
    """The row or column of each window at a place, or the nearest to it."""
    stride, dilation = core.stride[axis], core.dilation[axis]
    wanted = [at * stride - core.padding[2 * axis] + place * dilation for at, _ in enumerate(windows)]
    return [min(max(row, window[0]), window[-1]) for row, window in zip(wanted, windows, strict=True)]


def _to_the_end(site: Site, core: Pool2d) -> tuple[int, int, int, int]:
    """The padding, and what the last windows reach past it."""
    top, bottom, left, right = core.padding
    return top, bottom + max(0, _past(site, core, 0)), left, right + max(0, _past(site, core, 1))


def _past(site: Site, core: Pool2d, axis: int) -> int:
    """How many rows or columns the last window reaches past the padding; negative where some are unread."""
    kernel, stride, dilation = core.kernel[axis], core.stride[axis], core.dilation[axis]
    reach = (site.shape[axis + 2] - 1) * stride + dilation * (kernel - 1) + 1
    return reach - site.input_shape[axis + 2] - core.padding[2 * axis] - core.padding[2 * axis + 1]
