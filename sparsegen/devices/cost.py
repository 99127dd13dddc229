"""What an operator costs on a profile; the equations are `profile`'s."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sparsegen.devices.limits import unsupported
from sparsegen.devices.operators import Operator
from sparsegen.devices.profile import Profile
from sparsegen.typed import typed


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


@typed
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


@typed
def utilisation(profile: Profile, operator: Operator) -> float:
    """The part of a device that an operator fills while it runs, at most 1."""
    share = profile.share.get(operator.kind)
    if share is not None:
        return share.value
    if profile.elements is None:
        return 1.0
    return min(1.0, max(1, operator.written) / profile.elements.value)


@typed
def slowdown(profile: Profile, shares: Iterable[float]) -> float:
    """How many times as long operators take that run at once, with these utilisations; at least 1."""
    capacity = 1.0 if profile.capacity is None else profile.capacity.value
    return max(1.0, sum(shares) / capacity)


@typed
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
