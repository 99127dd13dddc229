"""What this machine's cores reach: measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import torch

from sparsegen.calibration import Calibration
from sparsegen.errors import MeasurementError
from sparsegen.isa import Speed
from sparsegen.runtime.bindings import fma_peak_gflops
from sparsegen.target import Target, cpu_model

_BYTES = 256 << 20  # of an array: far more than caches hold
_SAMPLES = 7
Tell = Callable[[str], None]


def calibrate(target: Target, tell: Tell = lambda step: None) -> Calibration:
    """Measure this machine, which has the target's CPU; `tell` hears of each step.

    The clock is the peak of multiply-adds over what a core starts in a cycle. A bandwidth is that of a copy
    of large arrays: bytes read and written, over the median of several times. Raises MeasurementError where
    no memory is left.
    """
    tell("the clock")
    peak = fma_peak_gflops(target.lanes, 1) * 1e9
    tell("the bandwidth of one core")
    core = _bandwidth(1)
    tell(f"the bandwidth of {target.cores} cores")
    every = max(core, _bandwidth(target.cores))
    speed = Speed(
        clock_hz=peak / (2 * target.lanes * target.fmas), core_bandwidth=core, socket_bandwidth=every
    )
    today = datetime.now(UTC).date().isoformat()
    return Calibration(cpu_model(), target.name, target.cores, today, speed)


def _bandwidth(threads: int) -> float:
    """Bytes a second that a copy on so many threads reads and writes."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        source = torch.ones(_BYTES // 4, dtype=torch.float32, device="cpu")
        copy = torch.zeros_like(source)
        times = []
        for _ in range(_SAMPLES):
            started = time.perf_counter()
            copy.copy_(source)
            times.append(time.perf_counter() - started)
    except RuntimeError as error:  # torch has no error of its own for it
        raise MeasurementError(f"no memory is left for two arrays of {_BYTES:,} bytes: free some") from error
    finally:
        torch.set_num_threads(before)
    return 2 * _BYTES / statistics.median(times)
