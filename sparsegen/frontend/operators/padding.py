"""Padding of any mode: a constant around the value, or elements of its own."""

from __future__ import annotations

from sparsegen.frontend.builder import CallSite, NodeValue
from sparsegen.frontend.operators.arrangement import slice_of
from sparsegen.frontend.operators.movement import gathered
from sparsegen.frontend.operators.registry import operator
from sparsegen.graph import Pad


@operator("aten.pad.default")
def pad(site: CallSite, value: NodeValue, amounts: list[int], mode: str, fill: float | None) -> NodeValue:
    if mode == "constant":
        return constant_pad(site, value, amounts, 0.0 if fill is None else fill)
    if min(amounts) < 0:
        site.refuse(f"its mode is '{mode}', its padding {amounts}; none below 0 is supported")
    for dim, (before, after) in enumerate(_around(site, value, amounts)):
        if before or after:
            extent = site.shape_of(value)[dim]
            places = [_place(mode, i, extent) for i in range(-before, extent + after)]
            value = gathered(site, value, dim, places)
    return value


def _place(mode: str, index: int, extent: int) -> int:
    """The element that stands at an index, which may be outside: a mirror's, the nearest, or a circle's."""
    match mode:
        case "reflect":
            return extent - 1 - abs(extent - 1 - abs(index))
        case "replicate":
            return min(max(index, 0), extent - 1)
        case _:
            return index % extent


@operator("aten.constant_pad_nd.default")
def constant_pad(site: CallSite, value: NodeValue, amounts: list[int], fill: float) -> NodeValue:
    source = site.shape_of(value)
    around = _around(site, value, amounts)
    for dim, (before, after) in enumerate(around):
        cut_before, cut_after = max(-before, 0), max(-after, 0)
        value = slice_of(site, value, dim, cut_before, source[dim] - cut_before - cut_after)
    grown = tuple((max(before, 0), max(after, 0)) for before, after in around)
    if all(amount == (0, 0) for amount in grown):
        return value
    return site.layer(Pad(grown, float(fill)), value)


def _around(site: CallSite, value: NodeValue, amounts: list[int]) -> list[tuple[int, int]]:
    """(before, after) of every dimension."""
    around = [(0, 0)] * len(site.shape_of(value))
    for index in range(len(amounts) // 2):  # ATen counts from the last dimension
        around[-1 - index] = (amounts[2 * index], amounts[2 * index + 1])
    return around
