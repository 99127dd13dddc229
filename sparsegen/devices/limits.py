"""Why a profile does not run an operator: what it lacks, and what is too large for it."""

from __future__ import annotations

from collections.abc import Iterator

from sparsegen.devices.operators import Operator, names_of
from sparsegen.devices.profile import Limits, Profile
from sparsegen.typed import typed

_CONVOLUTIONS = ("conv", "depthwise", "grouped")
_OF_ANY_BATCH = ("linear", "softmax", "slice")
"""Operators to which images are rows like any others."""
_SPECIAL = {"rsqrt": "pow"}
"""Operators that a device also has by a more general one."""


@typed
def unsupported(profile: Profile, operator: Operator, dtype: str | None = None) -> str:
    """Why a profile does not run an operator, as a phrase; empty where it does."""
    dtype = dtype or profile.dtype
    if dtype not in profile.rates:
        return f"{profile.name} computes in {' or '.join(profile.rates)}, not in {dtype}"
    limits = profile.limits
    if limits.operators is not None:
        missing = [
            name
            for name in names_of(operator)
            if name not in limits.operators and _SPECIAL.get(name) not in limits.operators
        ]
        if missing:
            return f"{profile.name} has no {' and no '.join(missing)}"
    if profile.rate(operator.kind, dtype) is None and operator.kind != "view":
        return f"{profile.name} has no rate for the kind {operator.kind}"
    if limits.constant_weights and not operator.constant_weights:
        return "both its operands are values, and the weights have to be constant"
    down, across = operator.dilation
    if limits.same_dilation and down != across:
        return f"its dilation is {down} down and {across} across, and has to be the same"
    if limits.unit_steps and operator.step != 1:
        return f"it takes every {operator.step}. element, and slices have to have step 1"
    if limits.one_direction and operator.reverse:
        return "it runs backwards over the sequence"
    top, bottom, left, right = operator.padding
    if limits.even_padding and (top, left) != (bottom, right):
        return f"its padding is {operator.padding}, and has to be as much before as after"
    if limits.equal_windows and not operator.equal_windows:
        return "its windows are not all of one size"
    return _too_large(limits, operator)


def _too_large(limits: Limits, operator: Operator) -> str:
    if len(operator.extents) > 1 and limits.softmax is not None:
        return "its softmax is over several dimensions"
    for name, found, phrase in _counted(operator):
        most = getattr(limits, name)
        if most is not None and found > most.value:
            return phrase.format(f"{found:,}", f"{most.value:,.0f}")
    return ""


def _counted(operator: Operator) -> Iterator[tuple[str, int, str]]:
    """What limits bound, how much of it the operator has, and how to say that it is too much.

    A view moves no elements, so that its shapes do not matter: what reads them is another operator.
    """
    yield "softmax", max(operator.extents, default=0), "its softmax is over {} elements, and may be over {}"
    if operator.kind != "view":
        yield from _of_shapes(operator)
    yield "stride", max(operator.stride), "its stride is {}, and may be {}"
    yield "dilation", max(operator.dilation), "its dilation is {}, and may be {}"
    yield "padding", max(operator.padding), "its padding is {}, and may be {}"
    height, width = _dilated(operator)
    if operator.kind == "pool":
        yield from _of_kernel("pool", height, width)
        if operator.name == "avg_pool" and any(operator.padding):
            yield "padded_average", max(height, width), "it averages {} a side with padding, and may {}"
    elif operator.kind in _CONVOLUTIONS:
        yield from _of_kernel("kernel", height, width)


def _of_shapes(operator: Operator) -> Iterator[tuple[str, int, str]]:
    shapes = operator.shapes
    images = [shape for shape in shapes if len(shape) == 4]
    large = max((sum(extent > 1 for extent in shape) for shape in shapes), default=0)
    yield "dimensions", large, "{} dimensions are above 1, and may be {}"
    yield "rank", max(map(len, shapes), default=0), "it has {} dimensions, and may have {}"
    extent = max((extent for shape in shapes for extent in shape), default=0)
    yield "extent", extent, "a dimension is {} long, and may be {}"
    yield "channels", max((shape[1] for shape in images), default=0), "it has {} channels, and may have {}"
    if operator.name not in _OF_ANY_BATCH:
        yield (
            "batch",
            max((shape[0] for shape in images), default=0),
            "it has {} images at once, and may have {}",
        )


def _of_kernel(name: str, height: int, width: int) -> Iterator[tuple[str, int, str]]:
    yield name, max(height, width), "its kernel is {} a side, and may be {}"
    yield f"{name}_height", height, "its kernel is {} high, and may be {}"
    yield f"{name}_area", height * width, "its kernel covers {} pixels, and may cover {}"


def _dilated(operator: Operator) -> tuple[int, int]:
    """Height and width that a kernel spans."""
    height, width = (
        dilation * (extent - 1) + 1
        for dilation, extent in zip(operator.dilation, operator.kernel, strict=True)
    )
    return height, width
