"""What an operator costs on a profile, and why a profile does not run it; the equations are `profile`'s."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sparsegen.devices.operators import Operator, names_of
from sparsegen.devices.profile import Profile
from sparsegen.graph import Shape


@dataclass(frozen=True)
class Estimate:
    """What an operator takes on a device.

    Bytes are in the device's own type of elements. seconds: without an invocation and without streamed
    weights, infinite where the device does not run it; `reason`, a phrase, tells why, and is empty otherwise.
    utilisation: the part of the device that the operator fills.
    """

    seconds: float
    bytes_read: int
    bytes_written: int
    weight_bytes: int
    utilisation: float = 1.0
    reason: str = ""

    @property
    def supported(self) -> bool:
        """Whether the device runs the operator."""
        return not self.reason


def estimate(profile: Profile, operator: Operator, dtype: str | None = None) -> Estimate:
    """The cost of an operator on a profile, computed in `dtype`, or in what the device computes in."""
    dtype = dtype or profile.dtype
    item = profile.item_bytes(dtype)
    read, written, weights = (item * each for each in (operator.read, operator.written, operator.weights))
    reason = unsupported(profile, operator, dtype)
    if reason:
        return Estimate(math.inf, read, written, weights, reason=reason)
    share = utilisation(profile, operator)
    if operator.kind == "view":
        return Estimate(0.0, read, written, weights, share)
    rate = profile.rate(operator.kind, dtype)
    assert rate is not None
    moved = read + written + weights
    seconds = (moved if rate.in_bytes else operator.multiply_adds) / (rate.value * share)
    if profile.bandwidth is not None:
        seconds = max(seconds, moved / profile.bandwidth.value)
    return Estimate(profile.operator_overhead.value + seconds, read, written, weights, share)


def utilisation(profile: Profile, operator: Operator) -> float:
    """The part of a device that an operator fills while it runs, at most 1."""
    share = profile.share.get(operator.kind)
    if share is not None:
        return share.value
    if profile.elements is None:
        return 1.0
    return min(1.0, max(1, operator.written) / profile.elements.value)


def slowdown(profile: Profile, shares: Iterable[float]) -> float:
    """How many times as long operators take that run at once, with these utilisations; at least 1."""
    capacity = 1.0 if profile.capacity is None else profile.capacity.value
    return max(1.0, sum(shares) / capacity)


def unsupported(profile: Profile, operator: Operator, dtype: str | None = None) -> str:
    """Why a profile does not run an operator, as a phrase; empty where it does."""
    dtype = dtype or profile.dtype
    if dtype not in profile.rates:
        return f"{profile.name} computes in {' or '.join(profile.rates)}, not in {dtype}"
    limits = profile.limits
    if limits.operators is not None:
        missing = [name for name in names_of(operator) if name not in limits.operators]
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
    return _too_large(profile, operator)


def _too_large(profile: Profile, operator: Operator) -> str:
    limits = profile.limits
    extent = max(operator.extents, default=0)
    if limits.softmax is not None and extent > limits.softmax.value:
        return f"its softmax is over {extent:,} elements, and may be over {limits.softmax.value:,.0f}"
    if len(operator.extents) > 1 and limits.softmax is not None:
        return "its softmax is over several dimensions"
    if limits.dimensions is not None:
        most = max(map(_large_dimensions, operator.shapes), default=0)
        if most > limits.dimensions.value:
            return f"{most} dimensions are above 1, and may be {limits.dimensions.value:.0f}"
    return ""


def _large_dimensions(shape: Shape) -> int:
    return sum(extent > 1 for extent in shape)


def alone_seconds(
    profile: Profile, operators: Iterable[Operator], *, inputs: int = 0, outputs: int = 0
) -> float:
    """Seconds of a run of all operators, one after the other, on a profile: what its maker's benchmark times.

    The invocation, the operators, weights beyond the cache, and, where the device has a link, so many
    elements of `inputs` and `outputs` over it. Infinite where an operator is not supported.
    """
    costs = [estimate(profile, operator) for operator in operators]
    seconds = profile.invocation_overhead.value + sum(cost.seconds for cost in costs)
    if profile.link is None:
        return seconds
    streamed = profile.streamed_bytes(sum(cost.weight_bytes for cost in costs))
    moved = profile.item_bytes() * (inputs + outputs) + streamed
    latencies = profile.link.latency.value * ((inputs > 0) + (outputs > 0))
    return seconds + latencies + moved / profile.link.bandwidth.value
