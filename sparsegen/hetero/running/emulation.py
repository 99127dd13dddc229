"""A device that is not there: its results are computed here, and given after the time that its table says."""

from __future__ import annotations

import threading
from typing import Any

from sparsegen.hetero.running.clock import Clock, MonotonicClock, begun
from sparsegen.hetero.running.runners import Runner


class Emulated:
    """A runner that takes `seconds` a call, whatever computing takes; never less.

    They count from when the device could begin, where an executor says so (`clock.begun`): a device does not
    wait for the host's bookkeeping between two operators.

    late: calls in which computing itself took longer, so that the emulation is slower than its device.
    calls: all of them. Several threads may call at once, as the copies of a device do.
    """

    def __init__(self, runner: Runner, seconds: float, clock: Clock | None = None) -> None:
        self.runner = runner
        self.seconds = seconds
        self.calls = self.late = 0
        self._clock = clock or MonotonicClock()
        self._lock = threading.Lock()

    def __call__(self, *inputs: Any) -> Any:
        """The runner's result, or its error, after the time."""
        until = (self._clock.now() if begun.time is None else begun.time) + self.seconds
        try:
            return self.runner(*inputs)
        finally:
            with self._lock:
                self.calls += 1
                self.late += self._clock.now() > until
            self._clock.wait_until(until)
