"""What it takes to compute something: seconds, bytes, and where the figure comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

Origin = Literal["measured", "predicted", "roofline"]
"""Timed; told by a model of the kernel's loops; bytes over bandwidth, or operations over peak."""

AnyOrigin = Literal[Origin, "table"]
"""Or told by a device's table."""

_SUREST = get_args(AnyOrigin)
AnOrigin = TypeVar("AnOrigin", bound=AnyOrigin)


@dataclass(frozen=True)
class Cost:
    """The cost of an operator, or of several in a row.

    `seconds` are by the clock, with all threads of the setting; `bytes_read` and `bytes_written` those of its
    operands and result, each once. Weights count as the model has them, zeros too.
    """

    seconds: float
    bytes_read: int
    bytes_written: int
    origin: Origin

    def __add__(self, other: Cost) -> Cost:
        """Both, one after the other; as sure as the less sure of them."""
        return Cost(
            self.seconds + other.seconds,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            least_sure(self.origin, other.origin),
        )


def least_sure(*origins: AnOrigin) -> AnOrigin:
    """The origin of what is made of things with these: that of the least sure one."""
    return max(origins, key=_SUREST.index)


NOTHING = Cost(0.0, 0, 0, "measured")
"""What takes no time."""


def total(costs: Iterable[Cost]) -> Cost:
    """The cost of all, one after the other."""
    whole = NOTHING
    for cost in costs:
        whole += cost
    return whole
