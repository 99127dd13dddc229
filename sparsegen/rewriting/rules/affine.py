"""Scale and shift by constants, and sums of values, as convolutions of 1x1."""

from __future__ import annotations

import numpy as np

from sparsegen.graph import Array, Concat
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.maps import MOST_WEIGHTS
from sparsegen.rewriting.rule import RefusalError, rule
from sparsegen.rewriting.site import Site
from sparsegen.rewriting.views import (
    channels_shape,
    image_shape,
    plane_shape,
    pointwise_conv,
    reshaped,
    stacked,
)


@rule("scale and shift by depthwise convolution", "add", "sub", "mul", "div", "neg")
def affine_by_depthwise(site: Site, draft: Draft) -> str:
    """Each channel by its own weight and bias; of one channel or number, an image's all by the same."""
    scale, shift = _affine(site)
    operand = np.broadcast_arrays(scale, shift)[0]
    if operand.size == 1:
        shape = image_shape(site.shape)
        scale, shift = (np.full(shape[1], each.reshape(()), np.float32) for each in (scale, shift))
    else:
        shape, first, end = channels_shape(site.shape, operand.shape)
        scale, shift = (
            _of_channels(each, site.shape[first:end], len(site.shape) - end) for each in (scale, shift)
        )
    image = reshaped(draft, site.input, shape)
    made = pointwise_conv(draft, image, scale[:, None], shift, groups=shape[1])
    return reshaped(draft, made, site.shape)


@rule("scale and shift by convolution of one channel", "add", "sub", "mul", "div", "neg")
def affine_by_plane(site: Site, draft: Draft) -> str:
    """All elements as one channel, by one weight and bias."""
    scale, shift = _affine(site)
    if scale.size > 1 or shift.size > 1:
        raise RefusalError("its constant is no single number")
    image = reshaped(draft, site.input, plane_shape(site.shape))
    weight, bias = (each.reshape(1).astype(np.float32) for each in (scale, shift))
    return reshaped(draft, pointwise_conv(draft, image, weight[:, None], bias), site.shape)


@rule("sum of two values by convolution of one channel", "add", "sub")
def sum_by_plane(site: Site, draft: Draft) -> str:
    """Both values as channels, added by their weights."""
    first, second = _terms(site)
    image = stacked(draft, [site.input, _other(site)])
    weight = np.array([[first, second]], np.float32)
    return reshaped(draft, pointwise_conv(draft, image, weight, None), site.shape)


@rule("sum of two images by convolution", "add", "sub")
def sum_by_convolution(site: Site, draft: Draft) -> str:
    """Both images' channels one after the other, added by a dense convolution."""
    first, second = _terms(site)
    batch, channels, height, width = shape = image_shape(site.shape)
    if 2 * channels**2 > MOST_WEIGHTS:
        raise RefusalError(f"its {channels:,} channels would take {2 * channels**2:,} weights")
    parts = [reshaped(draft, value, shape) for value in (site.input, _other(site))]
    both = draft.add(Concat(1), parts, (batch, 2 * channels, height, width))
    unit = np.eye(channels, dtype=np.float32)
    made = pointwise_conv(draft, both, np.concatenate([first * unit, second * unit], 1), None)
    return reshaped(draft, made, site.shape)


def _affine(site: Site) -> tuple[Array, Array]:
    """The constants that a step multiplies by and adds; one is a number, of no dimension."""
    if site.shape != site.input_shape:
        raise RefusalError("its constant has more elements than its value")
    one, zero = np.float32(1), np.float32(0)
    if site.name == "neg":
        return np.array(-one), np.array(zero)
    operand = site.known_operand
    if operand is None:
        raise RefusalError("both its operands are values")
    constant = operand.astype(np.float32)
    if not np.isfinite(constant).all():
        raise RefusalError("its constant is not finite")
    match site.name:
        case "add":
            return np.array(one), constant
        case "sub":
            return (np.array(-one), constant) if site.reverse else (np.array(one), -constant)
        case "mul":
            return constant, np.array(zero)
    if site.reverse:
        raise RefusalError("it divides by the value")
    if not constant.all():
        raise RefusalError("it divides by 0")
    return (1 / operand).astype(np.float32), np.array(zero)


def _of_channels(constant: Array, extents: tuple[int, ...], after: int) -> Array:
    """A constant as one of channels, which dimensions of these extents make up, `after` before the last."""
    if constant.ndim > after:
        constant = constant.reshape(constant.shape[: constant.ndim - after])
        constant = constant.reshape(constant.shape[max(0, constant.ndim - len(extents)) :])
    else:
        constant = constant.reshape(())
    return np.ascontiguousarray(np.broadcast_to(constant, extents)).reshape(-1)


def _other(site: Site) -> str:
    """The operand of a sum, a value of the same shape."""
    operand = site.operand
    if not isinstance(operand, str) or operand in site.constants:
        raise RefusalError("its operand is constant")
    if site.shapes[operand] != site.input_shape:
        raise RefusalError(f"its values have the shapes {site.input_shape} and {site.shapes[operand]}")
    return operand


def _terms(site: Site) -> tuple[float, float]:
    """What the value and its operand are multiplied by."""
    if site.name == "add":
        return 1.0, 1.0
    return (-1.0, 1.0) if site.reverse else (1.0, -1.0)
