"""Images of another size: nearest, linear and cubic interpolation, with and without antialiasing.

All are sums along one axis and then along the other, with weights that depend on the position alone. Torch's
own operator tells them, so that every rounding of a source position is torch's: interpolated along an axis,
the unit vectors give the weights, and NaN in place of their 1 gives what is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sparsegen.frontend.builder import CallSite, NodeValue
from sparsegen.frontend.operators.arrangement import reshape_to
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import Interpolation, Resample2d

Scales = Sequence[float | None]

_OF_IMAGES = {
    "upsample_nearest1d": "upsample_nearest2d",
    "_upsample_nearest_exact1d": "_upsample_nearest_exact2d",
    "upsample_linear1d": "upsample_bilinear2d",
}
"""The operator on images that does along each axis what an operator on rows does."""


@operator(
    "aten._upsample_nearest_exact1d.vec",
    "aten._upsample_nearest_exact2d.vec",
    "aten.upsample_nearest1d.vec",
    "aten.upsample_nearest2d.vec",
)
def nearest(
    site: CallSite, value: NodeValue, size: list[int] | None, scales: list[float] | None
) -> NodeValue:
    return _resample(site, value, scales, ())


@operator(
    "aten._upsample_nearest_exact1d.default",
    "aten._upsample_nearest_exact2d.default",
    "aten.upsample_nearest1d.default",
    "aten.upsample_nearest2d.default",
)
def nearest_to_size(site: CallSite, value: NodeValue, size: list[int], *scales: float | None) -> NodeValue:
    return _resample(site, value, scales, ())


@operator(
    "aten._upsample_bicubic2d_aa.vec",
    "aten._upsample_bilinear2d_aa.vec",
    "aten.upsample_bicubic2d.vec",
    "aten.upsample_bilinear2d.vec",
    "aten.upsample_linear1d.vec",
)
def weighted(
    site: CallSite, value: NodeValue, size: list[int] | None, align_corners: bool, scales: list[float] | None
) -> NodeValue:
    return _resample(site, value, scales, (align_corners,))


@operator(
    "aten._upsample_bicubic2d_aa.default",
    "aten._upsample_bilinear2d_aa.default",
    "aten.upsample_bicubic2d.default",
    "aten.upsample_bilinear2d.default",
    "aten.upsample_linear1d.default",
)
def weighted_to_size(
    site: CallSite, value: NodeValue, size: list[int], align_corners: bool, *scales: float | None
) -> NodeValue:
    return _resample(site, value, scales, (align_corners,))


def _resample(
    site: CallSite, value: NodeValue, scales: Scales | None, options: tuple[bool, ...]
) -> NodeValue:
    """Resample images, or rows as images of one row; `options` come after the size in torch's operator."""
    source, rank = site.shape_of(value), len(site.shape)
    name = site.operator.split(".")[1]
    given = scales or [None] * (rank - 2)
    resample = getattr(torch.ops.aten, _OF_IMAGES.get(name, name)).default
    axes = [
        _interpolation(resample, extent, outputs, options, scale)
        for extent, outputs, scale in zip(source[2:], site.shape[2:], given, strict=True)
    ]
    if rank == 4:
        return site.layer(Resample2d(*axes), value)
    batch, channels, row = source
    image = reshape_to(site, value, (batch, channels, 1, row))
    core = Resample2d(_whole(1), *axes)
    return reshape_to(site, site.layer(core, image, shape=(batch, channels, 1, site.shape[2])), site.shape)


def _whole(extent: int) -> Interpolation:
    """An axis that stays as it is."""
    return Interpolation(np.arange(extent, dtype=np.int32)[:, None], np.ones((extent, 1), np.float32))


def _interpolation(
    resample: Any, extent: int, outputs: int, options: tuple[bool, ...], scale: float | None
) -> Interpolation:
    """How torch's operator makes `outputs` positions of `extent` along one axis."""

    def along(columns: torch.Tensor) -> torch.Tensor:
        """Each column, a channel of its own, made longer: [outputs, extent]."""
        images = columns.T.contiguous().view(1, extent, extent, 1)
        # To two columns: where neither axis changes, torch copies, and reads no tap of weight 0.
        resampled: torch.Tensor = resample(images, [outputs, 2], *options, scale, None)
        return resampled[0, :, :, 0].T

    unit = torch.eye(extent)
    weights, is_read = along(unit), along(torch.where(unit == 1, torch.nan, 0.0)).isnan()
    counts = is_read.sum(1, keepdim=True)
    taps = int(counts.max())
    # The positions that are read come first, in order; where they are fewer, the last is read again.
    order = is_read.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices
    reads = order.gather(1, torch.minimum(torch.arange(taps).expand(outputs, taps), counts - 1))
    kept = torch.where(torch.arange(taps) < counts, weights.gather(1, reads), 0.0)
    return Interpolation(reads.to(torch.int32).numpy(), kept.numpy())
