"""Convolutions, and the batch norms that are folded into them later."""

from __future__ import annotations

from collections.abc import Sequence

from sparsegen.frontend.builder import CallSite, Value, to_array
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import Conv2d, Identity, Step


def pair(sizes: Sequence[int]) -> tuple[int, int]:
    """(vertical, horizontal) from ATen's list of one or two numbers."""
    return sizes[0], sizes[-1]


@operator("aten.conv2d.default")
def conv2d(
    site: CallSite,
    value: Value,
    weight: Value,
    bias: Value | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> str:
    vertical, horizontal = pair(padding)
    return _convolve(
        site, value, weight, bias, stride, (vertical, vertical, horizontal, horizontal), dilation, groups
    )


@operator("aten.conv2d.padding")
def conv2d_named_padding(
    site: CallSite,
    value: Value,
    weight: Value,
    bias: Value | None,
    stride: list[int],
    padding: str,
    dilation: list[int],
    groups: int,
) -> str:
    if padding == "valid":
        return _convolve(site, value, weight, bias, stride, (0, 0, 0, 0), dilation, groups)
    # "same" puts the odd one of an even kernel's zeros at the bottom and right.
    kernel = site.shape_of(weight)[2:]
    vertical, horizontal = (d * (size - 1) for d, size in zip(pair(dilation), kernel, strict=True))
    around = (vertical // 2, vertical - vertical // 2, horizontal // 2, horizontal - horizontal // 2)
    return _convolve(site, value, weight, bias, stride, around, dilation, groups)


@operator("aten.convolution.default")
def convolution(
    site: CallSite,
    value: Value,
    weight: Value,
    bias: Value | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> str:
    if transposed:
        site.refuse("it is transposed")
    return conv2d(site, value, weight, bias, stride, padding, dilation, groups)


def _convolve(
    site: CallSite,
    value: Value,
    weight: Value,
    bias: Value | None,
    stride: list[int],
    padding: tuple[int, int, int, int],
    dilation: list[int],
    groups: int,
) -> str:
    site.require_rank(value, 4)
    core = Conv2d(
        to_array(site.weight(weight)),
        None if bias is None else to_array(site.known(bias, "bias")),
        pair(stride),
        padding,
        pair(dilation),
        groups,
    )
    return site.layer(core, value)


@operator("aten._native_batch_norm_legit_no_training.default")
def batch_norm(
    site: CallSite,
    value: Value,
    weight: Value | None,
    bias: Value | None,
    mean: Value,
    variance: Value,
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
