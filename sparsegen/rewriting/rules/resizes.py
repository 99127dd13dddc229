"""Images of another size, by convolutions, shuffles and concatenation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsegen.graph import Concat, Conv2d, Interpolation, PixelShuffle, Resample2d
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import MOST_WEIGHTS, along, check_parts, convolved, with_edges, with_extent
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import reshaped


@rule("nearest upsampling by concatenation", "resize_nearest")
def nearest_by_concat(site: Site, draft: Draft) -> str:
    """Each row, then each column, again beside itself."""
    made = site.input
    for dim, factor in zip((2, 3), _factors(site), strict=True):
        if factor == 1:
            continue
        check_parts(factor, "copies")
        shape = draft.shape(made)
        before, after = int(np.prod(shape[: dim + 1])), int(np.prod(shape[dim + 1 :]))
        rows = reshaped(draft, made, (before, 1, after))
        copies = draft.add(Concat(1), [rows] * factor, (before, factor, after))
        made = reshaped(draft, copies, with_extent(shape, dim, shape[dim] * factor))
    return made


@rule("nearest upsampling by convolution and pixel shuffle", "resize_nearest")
def nearest_by_shuffle(site: Site, draft: Draft) -> str:
    """Each channel as many times as a pixel becomes pixels."""
    down, across = _factors(site)
    channels, count = site.input_shape[1], down * across
    if channels**2 * count > MOST_WEIGHTS:
        raise RefusalError(f"it would take {channels**2 * count:,} weights")
    weight = draft.array(np.repeat(np.eye(channels), count, 0)[:, :, None, None])
    return draft.add(
        PixelShuffle((down, across)), convolved(draft, site.input, Conv2d(weight, None)), site.shape
    )


@rule("bilinear upsampling by convolution and pixel shuffle", "resize_bilinear", "resize_bicubic")
def smooth_by_shuffle(site: Site, draft: Draft) -> str:
    """The edges again, then for each phase of a pixel a kernel of its own."""
    core, (batch, channels, *sizes) = _resample(site), site.input_shape
    kernels = list[NDArray[np.float64]]()
    made, ahead = site.input, list[int]()
    for dim, axis, size in zip((2, 3), (core.rows, core.columns), sizes, strict=True):
        kernel, before = _phases(axis, size)
        kernels.append(kernel)
        ahead.append(before)
        after = kernel.shape[1] - 1 - before
        check_parts(before + after, "copies of its edges")
        made = with_edges(draft, made, dim, before, after)
    rows, columns = kernels
    phases = np.einsum("ay,bx->abyx", rows, columns).reshape(-1, 1, rows.shape[1], columns.shape[1])
    weight = draft.array(np.tile(phases, (channels, 1, 1, 1)))
    made = convolved(draft, made, Conv2d(weight, None, groups=channels))
    assert draft.shape(made)[::2] == (batch, sizes[0])
    return draft.add(PixelShuffle((len(rows), len(columns))), made, site.shape)


@rule("resize by convolutions along rows and columns", "resize_nearest", "resize_bilinear", "resize_bicubic")
def resize_by_matrices(site: Site, draft: Draft) -> str:
    """Columns, then rows as channels, of which each result has its weights."""
    core, made = _resample(site), site.input
    for dim, axis in ((3, core.columns), (2, core.rows)):
        made = along(draft, made, dim, draft.array(_matrix(axis, site.input_shape[dim])))
    return made


def _factors(site: Site) -> tuple[int, int]:
    """How many times each row and each column is repeated."""
    core = _resample(site)
    down, across = (
        len(axis.reads) // size
        for axis, size in zip((core.rows, core.columns), site.input_shape[2:], strict=True)
    )
    for axis, factor, size in (
        (core.rows, down, site.input_shape[2]),
        (core.columns, across, site.input_shape[3]),
    ):
        if not axis.copies or axis.reads[:, 0].tolist() != np.repeat(np.arange(size), factor).tolist():
            raise RefusalError("it does not repeat each row and column as often")
    return down, across


def _phases(axis: Interpolation, size: int) -> tuple[NDArray[np.float64], int]:
    """Weights [factor, taps] of neighbours, the edges repeated, and how many of them come before a pixel."""
    factor = len(axis.reads) // size
    if factor < 1 or factor * size != len(axis.reads):
        raise RefusalError("its size is no multiple of the image's")
    exact = _matrix(axis, size)
    reach = axis.reads.shape[1] // 2
    taps = 2 * reach + 1
    middle = size // 2
    if size < taps:
        raise RefusalError(f"its image of {size} rows or columns is smaller than its kernel")
    kernel = exact[middle * factor : (middle + 1) * factor, middle - reach : middle + reach + 1]
    places = np.clip(np.arange(size)[:, None] + np.arange(-reach, reach + 1), 0, size - 1)
    made = np.zeros((size, factor, size))
    for row, reads in enumerate(places):
        for tap, read in enumerate(reads):
            made[row, :, read] += kernel[:, tap]
    if not np.allclose(made.reshape(exact.shape), exact, rtol=0, atol=1e-6):
        raise RefusalError("its weights differ from pixel to pixel, as where corners are aligned")
    return kernel, reach


def _matrix(axis: Interpolation, size: int) -> NDArray[np.float64]:
    """What an axis multiplies rows or columns by, [outputs, size], in float64."""
    matrix = np.zeros((len(axis.reads), size))
    np.add.at(matrix, (np.arange(len(axis.reads))[:, None], axis.reads), axis.weights)
    return matrix


def _resample(site: Site) -> Resample2d:
    assert isinstance(site.core, Resample2d)
    return site.core
