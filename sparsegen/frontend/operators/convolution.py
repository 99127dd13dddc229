"""Convolutions, and the batch norms that are folded into them later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from sparsegen.frontend.builder import CallSite, NodeValue, to_array
from sparsegen.frontend.operators.arrangement import reshape_to, with_batch
from sparsegen.frontend.operators.registry import operator
from sparsegen.frontend.operators.transposed import transposed_convolution
from sparsegen.graph import Conv2d, Identity, Shape, Step

T = TypeVar("T")


def pair(sizes: Sequence[T]) -> tuple[T, T]:
    """(vertical, horizontal) from ATen's list of one or two numbers."""
    return sizes[0], sizes[-1]


@operator("aten.conv1d.default", "aten.conv2d.default")
def convolve(
    site: CallSite,
    value: NodeValue,
    weight: NodeValue,
    bias: NodeValue | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> NodeValue:
    return _convolve(
        site, value, weight, bias, stride, [(zeros, zeros) for zeros in padding], dilation, groups
    )


@operator("aten.conv1d.padding", "aten.conv2d.padding")
def convolve_with_named_padding(
    site: CallSite,
    value: NodeValue,
    weight: NodeValue,
    bias: NodeValue | None,
    stride: list[int],
    padding: str,
    dilation: list[int],
    groups: int,
) -> NodeValue:
    kernel = site.shape_of(weight)[2:]
    if padding == "valid":
        return _convolve(site, value, weight, bias, stride, [(0, 0)] * len(kernel), dilation, groups)
    # "same" puts the odd one of an even kernel's zeros at the end.
    spread = dilation * (len(kernel) // len(dilation))
    zeros = [step * (size - 1) for step, size in zip(spread, kernel, strict=True)]
    around = [(count // 2, count - count // 2) for count in zeros]
    return _convolve(site, value, weight, bias, stride, around, dilation, groups)


@operator("aten.convolution.default")
def convolution(
    site: CallSite,
    value: NodeValue,
    weight: NodeValue,
    bias: NodeValue | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> NodeValue:
    if transposed:
        return convolve_transposed(
            site, value, weight, bias, stride, padding, output_padding, groups, dilation
        )
    return convolve(site, value, weight, bias, stride, padding, dilation, groups)


@operator("aten.conv_transpose1d.default", "aten.conv_transpose2d.input")
def convolve_transposed(
    site: CallSite,
    value: NodeValue,
    weight: NodeValue,
    bias: NodeValue | None,
    stride: list[int],
    padding: list[int],
    output_padding: list[int],
    groups: int,
    dilation: list[int],
) -> NodeValue:
    tensor = _weight(site, weight)
    known = None if bias is None else site.known(bias, "bias")
    rank = tensor.dim()
    batched, values = with_batch(site, value, rank)
    result = transposed_convolution(
        replace(site, shape=image_of(batched.shape)),
        reshape_to(site, values, image_of(site.shape_of(values))),
        tensor if rank == 4 else tensor.unsqueeze(2),
        known,
        _per_axis(stride, rank, 1),
        _per_axis(padding, rank, 0),
        _per_axis(dilation, rank, 1),
        groups,
    )
    return reshape_to(site, result, site.shape)


def _convolve(
    site: CallSite,
    value: NodeValue,
    weight: NodeValue,
    bias: NodeValue | None,
    stride: list[int],
    padding: list[tuple[int, int]],
    dilation: list[int],
    groups: int,
) -> NodeValue:
    """A convolution of images, or of rows as images of one row."""
    tensor = _weight(site, weight)
    rank = tensor.dim()
    batched, values = with_batch(site, value, rank)
    (top, bottom), (left, right) = _per_axis(padding, rank, (0, 0))
    core = Conv2d(
        to_array(tensor if rank == 4 else tensor.unsqueeze(2)),
        None if bias is None else to_array(site.known(bias, "bias")),
        _per_axis(stride, rank, 1),
        (top, bottom, left, right),
        _per_axis(dilation, rank, 1),
        groups,
    )
    image = reshape_to(site, values, image_of(site.shape_of(values)))
    return reshape_to(site, site.layer(core, image, shape=image_of(batched.shape)), site.shape)


def _weight(site: CallSite, weight: NodeValue) -> torch.Tensor:
    """The filters, of rows or of images; refuses volumes."""
    tensor = site.weight(weight)
    if tensor.dim() > 4:
        site.refuse(f"its weight has shape {tuple(tensor.shape)}; one and two dimensions are supported")
    return tensor


def image_of(shape: Shape) -> Shape:
    """Shape of an image, or of rows as images of one row."""
    return shape if len(shape) == 4 else (*shape[:2], 1, *shape[2:])


def _per_axis(numbers: Sequence[T], rank: int, of_rows: T) -> tuple[T, T]:
    """(vertical, horizontal) of a convolution's list; `of_rows` is the first where rows are convolved."""
    return (of_rows, numbers[0]) if rank == 3 else pair(numbers)


@operator("aten._native_batch_norm_legit_no_training.default")
def batch_norm(
    site: CallSite,
    value: NodeValue,
    weight: NodeValue | None,
    bias: NodeValue | None,
    mean: NodeValue,
    variance: NodeValue,
    momentum: float,
    epsilon: float,
) -> tuple[str, None, None]:
    """A multiplication and an addition by channel; folding takes both into a convolution before them."""
    # In float64: the rounding of the scale would otherwise be multiplied by every weight.
    scale = (site.known(variance, "variance").double() + epsilon).rsqrt()
    if weight is not None:
        scale = scale * site.known(weight, "weight").double()
    shift = -site.known(mean, "mean").double() * scale
    if bias is not None:
        shift = shift + site.known(bias, "bias").double()
    by_channel = (-1, *(1 for _ in site.shape[2:]))
    steps = (
        Step("mul", operand=site.read(scale.reshape(by_channel), "scale")),
        Step("add", operand=site.read(shift.reshape(by_channel), "shift")),
    )
    return site.layer(Identity(), value, epilogue=steps), None, None
