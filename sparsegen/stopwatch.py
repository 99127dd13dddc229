"""How long the parts of a piece of work take: told to a logger, and to whoever records.

    with stopwatch.record() as parts:
        with stopwatch.part("linking"):
            ...
    parts["linking"].seconds

A part within another interrupts it: the times of all parts add up to the work's. Outside a recording a part
costs a look-up. Threads that are to be recorded with their caller run in a copy of its `contextvars` context.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_LOGGER = logging.getLogger(__name__)


@dataclass
class Part:
    """Times of one part: `seconds` by the clock, `cpu` of its thread and of the programs it called."""

    seconds: float = 0.0
    cpu: float = 0.0
    times: int = 0


class Parts(dict[str, Part]):
    """Parts by name, in the order in which they ended first. Several threads may add to them."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def add(self, name: str, seconds: float, cpu: float) -> None:
        """Count one more time of a part."""
        with self._lock:
            part = self.setdefault(name, Part())
            part.seconds += seconds
            part.cpu += cpu
            part.times += 1


class _Running:
    """A part that is being timed; `inner` counts what parts within it took."""

    def __init__(self) -> None:
        self.began, self.inner = _now(), (0.0, 0.0)

    def ended(self) -> tuple[float, float]:
        """The whole time since it began."""
        now = _now()
        return now[0] - self.began[0], now[1] - self.began[1]


_parts: ContextVar[Parts | None] = ContextVar("parts", default=None)
_threads = threading.local()


@contextmanager
def record() -> Iterator[Parts]:
    """Record the parts of what is done within; a recording within another one adds to it.

    The outermost recording tells the logger `sparsegen.stopwatch` every part, on level DEBUG.
    """
    outer = _parts.get()
    if outer is not None:
        yield outer
        return
    parts = Parts()
    token = _parts.set(parts)
    try:
        yield parts
    finally:
        _parts.reset(token)
    for name, part in parts.items():
        _LOGGER.debug("%s: %.3f s, %.3f s of CPU, %d times", name, part.seconds, part.cpu, part.times)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Time what is done within, for the recording that is under way."""
    parts = _parts.get()
    if parts is None:
        yield
        return
    running: list[_Running] = _threads.__dict__.setdefault("running", [])
    this = _Running()
    running.append(this)
    try:
        yield
    finally:
        running.pop()
        seconds, cpu = this.ended()
        parts.add(name, seconds - this.inner[0], cpu - this.inner[1])
        if running:
            outer = running[-1]
            outer.inner = outer.inner[0] + seconds, outer.inner[1] + cpu


def _now() -> tuple[float, float]:
    """The clock, and the CPU time of this thread and of the processes that it has waited for."""
    called = os.times()
    return time.perf_counter(), time.thread_time() + called.children_user + called.children_system
