"""The clock of an executor and of emulated devices: the machine's, or a test's own."""

from __future__ import annotations

import threading
import time
from typing import Protocol

_SPUN = 100e-6
"""Seconds at the end of a wait in which the thread looks at the clock instead of sleeping: the system wakes
it some 50 us late."""


class Clock(Protocol):
    """Tells the time in seconds, from any moment on, and waits; for any thread."""

    def now(self) -> float:
        """The time."""

    def wait_until(self, time: float) -> None:
        """Return at that time, never before; at once if it has passed."""


class _Begun(threading.local):
    time: float | None = None


begun = _Begun()
"""When what this thread computes could begin on its device: all was there, and the device was free."""


class MonotonicClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds of the performance counter."""
        return time.perf_counter()

    def wait_until(self, time_: float) -> None:
        """Sleep until shortly before, then look again and again."""
        left = time_ - time.perf_counter()
        if left > _SPUN:
            time.sleep(left - _SPUN)
        while time.perf_counter() < time_:
            time.sleep(0)  # lets other threads have the interpreter
