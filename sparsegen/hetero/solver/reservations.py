"""What devices and buses are reserved for, in a schedule that repeats itself every period."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable

from sparsegen.hetero.solver.chores import EXACTLY
from sparsegen.hetero.solver.instance import NEVER


class Reservations:
    """Spans of time of each resource, modulo the period."""

    def __init__(self, period: float) -> None:
        self._period, self._slack = period, period * EXACTLY
        self._spans: dict[int, list[tuple[float, float]]] = {}

    def earliest(self, takes: Iterable[int], seconds: float, ready: float, latest: float = NEVER) -> float:
        """The first start from `ready` on at which all resources are free long enough, or NEVER."""
        resources = [self._spans[each] for each in takes if each in self._spans]
        last = min(latest, ready + self._period) + self._slack
        start, moved = ready, True
        while moved:
            moved = False
            for spans in resources:
                later = self._past(spans, start, seconds)
                if later > start:
                    start, moved = later, True
                    if start > last:
                        return NEVER
        return start if seconds <= self._period + self._slack else NEVER

    def tightest(self, resource: int, seconds: float) -> float:
        """The start of the gap that is least larger than so long; NEVER where there is none."""
        spans = self._spans.get(resource)
        if spans is None:
            return 0.0
        gaps = []
        for at, (begin, length) in enumerate(spans):
            after = spans[(at + 1) % len(spans)][0]
            gap = (after - begin if at + 1 < len(spans) else after + self._period - begin) - length
            if gap >= seconds - self._slack:
                gaps.append((gap, begin + length))
        return min(gaps)[1] if gaps else NEVER

    def take(self, takes: Iterable[int], start: float, seconds: float) -> None:
        """Reserve resources from a start on.

        Spans that begin at the same time, but for rounding, get the very same begin, so that what takes no
        time comes before what does, and hides nothing of it.
        """
        place = self._within(start)
        for each in takes:
            spans = self._spans.setdefault(each, [])
            at = bisect_right(spans, (place - self._slack, -1.0))
            same = at < len(spans) and spans[at][0] <= place + self._slack
            insort(spans, (spans[at][0] if same else place, seconds))

    def _within(self, time: float) -> float:
        place = time % self._period if self._period else 0.0
        return 0.0 if self._period - place <= self._slack else place

    def _past(self, spans: list[tuple[float, float]], start: float, seconds: float) -> float:
        """The start, or a later one where a span is in the way: past that."""
        place = self._within(start)
        at = bisect_right(spans, (place + self._slack, NEVER))
        begin, length = spans[at - 1]
        since = place - begin + (0.0 if at else self._period)
        if since < length - self._slack:
            return start + length - since
        begin, length = spans[at % len(spans)]
        ahead = begin - place + (0.0 if at < len(spans) else self._period)
        if ahead < seconds - self._slack:
            return start + ahead + length
        return start
