"""Where values live in the arena: buffers planned once, memory shared over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ALIGNMENT = 4096  # a page: neighbours never share a cache line


@dataclass(frozen=True)
class Lifetime:
    """A value of `size` bytes that exists from step `first`, which writes it, through step `last`.

    Where steps may run at once, `uses` are those that write or read it, and `before` those that have surely
    ended when it is written, a bit each.
    """

    size: int
    first: int
    last: int
    uses: int | None = None
    before: int = 0

    def meets(self, other: Lifetime) -> bool:
        """Whether both may exist at one time."""
        if self.uses is None or other.uses is None:
            return self.first <= other.last and other.first <= self.last
        return bool(self.uses & ~other.before and other.uses & ~self.before)


@dataclass(frozen=True)
class MemoryPlan:
    """Offset in bytes of every value; the arena's size; the most bytes that exist in one step."""

    offsets: dict[str, int]
    peak_bytes: int
    live_bytes: int


def plan_memory(lifetimes: Mapping[str, Lifetime]) -> MemoryPlan:
    """Offsets such that values that exist at once do not overlap.

    Greedy by size: the largest first, each at the lowest offset that is free for all its steps
    (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020).
    """
    offsets: dict[str, int] = {}
    for name, value in sorted(lifetimes.items(), key=lambda item: (-item[1].size, item[1].first)):
        taken = sorted(
            (offset, offset + _rounded(lifetimes[other].size))
            for other, offset in offsets.items()
            if lifetimes[other].meets(value)
        )
        offsets[name] = _lowest_gap(taken, value.size)
    ends = [offsets[name] + _rounded(value.size) for name, value in lifetimes.items()]
    return MemoryPlan(offsets, max(ends, default=0), _most_live(list(lifetimes.values())))


def _rounded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _lowest_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    at = 0
    for begin, end in taken:
        if begin - at >= size:
            break
        at = max(at, end)
    return at


def _most_live(values: Sequence[Lifetime]) -> int:
    steps = {value.first for value in values}
    return max((sum(v.size for v in values if v.first <= step <= v.last) for step in steps), default=0)
