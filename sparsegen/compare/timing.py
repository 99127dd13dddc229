"""Timing of rivals in turn: A B A B, so that each meets the machine in the same state."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from sparsegen.compare.report import Timing

Call = Callable[[], object]

WARMUP = 3
"""Untimed rounds: caches fill, torch picks its kernels, thread teams start, the clock rises."""


def time_in_turn(
    calls: Mapping[str, Call],
    *,
    samples: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time every call `samples` times, in rounds of one call each, in the order of the mapping.

    A round takes all rivals through the same state of clock speed, heat and neighbours, and each
    finds the caches as the one before left them, which is what a network does to its layers. The
    garbage collector is off and nothing is allocated here between two readings of the clock.
    `clock` gives seconds.
    """
    functions = tuple(calls.values())
    seconds = np.zeros((len(functions), samples))
    for _ in range(WARMUP):
        for function in functions:
            function()
    with _without_garbage_collection():
        for sample in range(samples):
            for row, function in enumerate(functions):
                began = clock()
                function()
                seconds[row, sample] = clock() - began
    return {name: _summary(row * 1e3) for name, row in zip(calls, seconds, strict=True)}


def _summary(milliseconds: np.ndarray) -> Timing:
    low, median, high = np.percentile(milliseconds, (10, 50, 90))
    return Timing(median_ms=float(median), p10_ms=float(low), p90_ms=float(high))


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
