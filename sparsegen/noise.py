"""What makes measured times doubtful, told before any is taken: other work, and a clock that varies."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sparsegen.errors import warn

_STAT = Path("/proc/stat")
_GOVERNORS = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
_STEADY = "performance"
_WATCHED_S = 0.5
_BUSY = 0.2
"""Cores' worth of other work from which times are doubtful: less is what any system does."""


def warn_of_noise() -> tuple[str, ...]:
    """Warn of whatever on this machine will make times doubtful, and return the warnings' texts.

    It watches the cores of this process for half a second: other processes' time on them, and that of other
    guests of a virtual machine's host. Nothing is said of what the system does not tell.
    """
    found = tuple(_noise())
    for text in found:
        warn(text)
    return found


def governors() -> tuple[str, ...]:
    """Frequency governors of the cores of this process; none where the system does not tell, as in a VM."""
    found = set()
    for core in os.sched_getaffinity(0):
        with suppress(OSError):
            found.add(Path(_GOVERNORS.format(core)).read_text().strip())
    return tuple(sorted(found))


def _noise() -> Iterator[str]:
    busy, cores = _other_work(), len(os.sched_getaffinity(0))
    if busy is not None and busy >= _BUSY:
        yield (
            f"other work keeps {min(busy, cores):.1f} of {cores} core{'s' if cores > 1 else ''} busy, so "
            "that times are too long and uneven: stop it, or measure on a quiet machine"
        )
    for governor in set(governors()) - {_STEADY}:
        yield (
            f"the frequency governor is {governor!r}, so that the clock varies with the load: set "
            f"{_STEADY!r}, as `cpupower frequency-set --governor {_STEADY}` does"
        )


def _other_work() -> float | None:
    """Cores' worth of time that others take on the cores of this process; None where nothing tells."""
    before, own, began = _busy_seconds(), time.process_time(), time.monotonic()
    if before is None:
        return None
    time.sleep(_WATCHED_S)
    after = _busy_seconds()
    if after is None:
        return None
    own, passed = time.process_time() - own, time.monotonic() - began
    return max(0.0, after - before - own) / passed


def _busy_seconds() -> float | None:
    """Seconds that the cores of this process have been busy since the start, time taken by the host too."""
    mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    try:
        lines = [line.split() for line in _STAT.read_text().splitlines()]
        counted = [[int(ticks) for ticks in times] for name, *times in filter(None, lines) if name in mine]
    except (OSError, ValueError):
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal; guests' times are in user's.
    ticks = sum(sum(times[:8]) - sum(times[3:5]) for times in counted)
    return ticks / os.sysconf("SC_CLK_TCK") if counted else None
