"""Average pooling by means and convolutions, and back; adaptive pooling by pooling of equal windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsegen.graph import AdaptivePool2d, Conv2d, Mean, Pool2d, adaptive_windows
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import along, check_parts, convolved, joined, pool_of, pooled, sliced
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site


@rule("average pooling of whole images by mean", "avg_pool")
def average_by_mean(site: Site, draft: Draft) -> str:
    """One window, the image."""
    match site.core:
        case AdaptivePool2d(output=(1, 1)):
            pass
        case Pool2d(kernel=kernel, divisor=None) as core if (
            kernel == site.input_shape[2:] and not any(core.padding) and core.dilation == (1, 1)
        ):
            pass
        case _:
            raise RefusalError("its window is not the whole image")
    return draft.add(Mean((2, 3), True), site.input, site.shape)


@rule("average pooling by depthwise convolution", "avg_pool")
def average_by_depthwise(site: Site, draft: Draft) -> str:
    """Equal weights; where windows at edges divide by less, sums times what each divides by."""
    core, channels = pool_of(site), site.input_shape[1]
    shares = _shares(site, core)
    equal = bool(np.all(shares == shares[0, 0]))
    padding = list(core.padding)
    for axis in range(2):
        extent = core.dilation[axis] * (core.kernel[axis] - 1) + 1
        reach = (site.shape[axis + 2] - 1) * core.stride[axis] + extent
        padding[2 * axis + 1] = max(0, reach - site.input_shape[axis + 2] - padding[2 * axis])
    weight = draft.array(np.full((channels, 1, *core.kernel), shares[0, 0] if equal else 1.0))
    around = (padding[0], padding[1], padding[2], padding[3])
    conv = Conv2d(weight, None, core.stride, around, core.dilation, channels)
    made = convolved(draft, site.input, conv)
    return made if equal else draft.step(made, "mul", draft.constant(draft.array(shares)))


@rule("large average pooling by two smaller ones", "avg_pool", within_limits=True)
def large_average_in_two(site: Site, draft: Draft) -> str:
    """Averages of averages, where windows do not overlap."""
    core = pool_of(site)
    if core.kernel != core.stride or any(core.padding) or core.divisor is not None:
        raise RefusalError("its windows overlap, have padding, or divide by another number")
    if any(
        count * extent > size
        for count, extent, size in zip(site.shape[2:], core.kernel, site.input_shape[2:], strict=True)
    ):
        raise RefusalError("its last windows are cut off")
    first = tuple(_factor(extent) for extent in core.kernel)
    if first in ((1, 1), core.kernel):
        raise RefusalError(f"its window of {core.kernel[0]} by {core.kernel[1]} has no smaller ones")
    inner, outer = (first[0], first[1]), (core.kernel[0] // first[0], core.kernel[1] // first[1])
    made = site.input
    for dim, extent in zip((2, 3), core.kernel, strict=True):
        made = sliced(draft, made, dim, 0, site.shape[dim] * extent)
    return pooled(draft, pooled(draft, made, Pool2d("avg", inner, inner)), Pool2d("avg", outer, outer))


@rule("adaptive pooling by equal windows", "avg_pool", "max_pool")
def adaptive_by_windows(site: Site, draft: Draft) -> str:
    """A window each for every part of the image."""
    core = _adaptive(site)
    if any(size % count for size, count in zip(site.input_shape[2:], core.output, strict=True)):
        raise RefusalError("its windows are not all of one size")
    height, width = (size // count for size, count in zip(site.input_shape[2:], core.output, strict=True))
    return pooled(draft, site.input, Pool2d(core.kind, (height, width), (height, width)))


@rule("adaptive average by convolution along rows and columns", "avg_pool")
def adaptive_by_matrices(site: Site, draft: Draft) -> str:
    """Rows, then columns as channels, whose sums have a weight for each window."""
    core, made = _adaptive(site), site.input
    for dim, count in zip((2, 3), core.output, strict=True):
        size = site.input_shape[dim]
        matrix = draft.array(np.zeros((count, size)))
        for row, (start, stop) in enumerate(adaptive_windows(size, count)):
            matrix[row, start:stop] = 1 / (stop - start)
        made = along(draft, made, dim, matrix)
    return made


@rule("adaptive pooling window by window", "max_pool", "avg_pool")
def adaptive_by_slices(site: Site, draft: Draft) -> str:
    """Rows, then columns: each window's as a pool of one result."""
    core, made = _adaptive(site), site.input
    check_parts(sum(core.output), "windows")
    for axis, dim in enumerate((2, 3)):
        parts = list[str]()
        for start, stop in adaptive_windows(draft.shape(made)[dim], core.output[axis]):
            part = sliced(draft, made, dim, start, stop - start)
            if stop - start > 1:
                kernel = (stop - start, 1) if dim == 2 else (1, stop - start)
                part = pooled(draft, part, Pool2d(core.kind, kernel, kernel))
            parts.append(part)
        made = joined(draft, parts, dim)
    return made


def _shares(site: Site, core: Pool2d) -> NDArray[np.float64]:
    """What each window's sum is multiplied by, [rows, columns]."""
    if core.divisor is not None:
        return np.full(site.shape[2:], 1 / core.divisor)
    rows, columns = (_counts(site, core, axis) for axis in range(2))
    counts: NDArray[np.float64] = np.outer(rows, columns).astype(np.float64)
    return 1 / counts


def _counts(site: Site, core: Pool2d, axis: int) -> list[int]:
    """How many rows or columns count, of every window along an axis."""
    before, after = core.padding[2 * axis : 2 * axis + 2] if core.count_include_pad else (0, 0)
    first, last = -before, site.input_shape[axis + 2] + after
    spread = range(0, core.dilation[axis] * core.kernel[axis], core.dilation[axis])
    starts = (at * core.stride[axis] - core.padding[2 * axis] for at in range(site.shape[axis + 2]))
    return [sum(first <= start + offset < last for offset in spread) for start in starts]


def _factor(number: int) -> int:
    """The least divisor of at least the square root."""
    return next(each for each in range(1, number + 1) if number % each == 0 and each * each >= number)


def _adaptive(site: Site) -> AdaptivePool2d:
    if not isinstance(site.core, AdaptivePool2d):
        raise RefusalError("its windows have a given size")
    return site.core
