"""Pooling over windows of images."""

from __future__ import annotations

from typing import Literal

from sparsegen.frontend.builder import CallSite, NodeValue
from sparsegen.frontend.operators.arrangement import reshape_to, with_batch
from sparsegen.frontend.operators.convolution import image_of, pair
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import AdaptivePool2d, Pool2d


@operator("aten.max_pool2d.default")
def max_pool2d(
    site: CallSite,
    value: NodeValue,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
) -> NodeValue:
    vertical, horizontal = pair(padding)
    around = (vertical, vertical, horizontal, horizontal)
    core = Pool2d("max", pair(kernel), pair(stride or kernel), around, pair(dilation))
    return _pool_images(site, value, core)


@operator("aten.max_pool2d_with_indices.default")
def max_pool2d_with_indices(
    site: CallSite,
    value: NodeValue,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
) -> tuple[NodeValue, None]:
    return max_pool2d(site, value, kernel, stride, padding, dilation, ceil_mode), None


@operator("aten.avg_pool2d.default")
def avg_pool2d(
    site: CallSite,
    value: NodeValue,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> NodeValue:
    vertical, horizontal = pair(padding)
    core = Pool2d(
        "avg",
        pair(kernel),
        pair(stride or kernel),
        (vertical, vertical, horizontal, horizontal),
        count_include_pad=count_include_pad,
        divisor=divisor,
    )
    return _pool_images(site, value, core)


@operator("aten.adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(site: CallSite, value: NodeValue, output: list[int]) -> NodeValue:
    return _adaptive_pool(site, "avg", value, output)


@operator("aten.adaptive_max_pool2d.default")
def adaptive_max_pool2d(site: CallSite, value: NodeValue, output: list[int]) -> tuple[NodeValue, None]:
    return _adaptive_pool(site, "max", value, output), None


def _adaptive_pool(
    site: CallSite, kind: Literal["max", "avg"], value: NodeValue, output: list[int]
) -> NodeValue:
    if site.shape_of(value) == site.shape:  # every window is one pixel
        return value
    return _pool_images(site, value, AdaptivePool2d(kind, pair(output)))


def _pool_images(site: CallSite, value: NodeValue, core: Pool2d | AdaptivePool2d) -> NodeValue:
    """Pooling of images, or of one without a batch."""
    batched, images = with_batch(site, value, 4)
    return reshape_to(site, batched.layer(core, images), site.shape)


@operator("aten.max_pool1d.default")
def max_pool1d(
    site: CallSite,
    value: NodeValue,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
) -> NodeValue:
    around = (0, 0, padding[0], padding[0])
    core = Pool2d("max", (1, kernel[0]), (1, (stride or kernel)[0]), around, (1, dilation[0]))
    return _pool_rows(site, value, core)


@operator("aten.avg_pool1d.default")
def avg_pool1d(
    site: CallSite,
    value: NodeValue,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    count_include_pad: bool,
) -> NodeValue:
    core = Pool2d(
        "avg",
        (1, kernel[0]),
        (1, (stride or kernel)[0]),
        (0, 0, padding[0], padding[0]),
        count_include_pad=count_include_pad,
    )
    return _pool_rows(site, value, core)


@operator("aten.adaptive_avg_pool1d.default")
def adaptive_avg_pool1d(site: CallSite, value: NodeValue, output: list[int]) -> NodeValue:
    return _pool_rows(site, value, AdaptivePool2d("avg", (1, output[0])))


@operator("aten.adaptive_max_pool1d.default")
def adaptive_max_pool1d(site: CallSite, value: NodeValue, output: list[int]) -> tuple[NodeValue, None]:
    return _pool_rows(site, value, AdaptivePool2d("max", (1, output[0]))), None


def _pool_rows(site: CallSite, value: NodeValue, core: Pool2d | AdaptivePool2d) -> NodeValue:
    """Pooling of rows, as images of one row."""
    batched, rows = with_batch(site, value, 3)
    source, shape = (image_of(shape) for shape in (site.shape_of(rows), batched.shape))
    return reshape_to(site, site.layer(core, reshape_to(site, rows, source), shape=shape), site.shape)
