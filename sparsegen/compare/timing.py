"""Timing of rivals in turn: A B A B, so that each meets the machine in the same state."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from sparsegen.compare.report import Timing
from sparsegen.errors import EngineError

Call = Callable[[], object]

Stopwatch = Callable[[], float]
"""Runs a rival once and tells the seconds that it took; it warms up on its own. May raise EngineError."""

WARMUP = 3
"""Untimed rounds: caches fill, torch picks its kernels, thread teams start, the clock rises."""


def time_in_turn(
    calls: Mapping[str, Call],
    *,
    elsewhere: Mapping[str, Stopwatch] | None = None,
    samples: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time every call `samples` times, in rounds of one call each, in a new order every round.

    A round takes all rivals through the same state of clock speed, heat and neighbours, and each
    finds the caches as another left them, which is what a network does to its layers. The orders are
    drawn from a fixed seed: with one order for all rounds, whoever follows the rival that leaves
    the caches best would always be the same, and seem a few percent faster. The garbage collector
    is off and nothing is allocated here between two readings of the clock.
    `clock` gives seconds.

    Rivals `elsewhere` run in processes of their own and take their own times, each after a run that
    is not timed; where there are any, so do all: whose turn comes finds its threads asleep. One that
    raises EngineError takes no further part, and is not in the result.
    """
    elsewhere = elsewhere or {}
    ours = [_watch(call, clock, warm=bool(elsewhere)) for call in calls.values()]
    watches = [*ours, *elsewhere.values()]
    seconds, lost = np.zeros((len(watches), samples)), set[int]()

    def take(row: int) -> float:
        try:
            return 0.0 if row in lost else watches[row]()
        except EngineError:
            lost.add(row)
            return 0.0

    for _ in range(WARMUP):
        for row in range(len(watches)):
            take(row)
    with _without_garbage_collection():
        for sample, order in enumerate(_orders(len(watches), samples)):
            for row in order:
                seconds[row, sample] = take(row)
    names = enumerate((*calls, *elsewhere))
    return {name: _summary(seconds[row] * 1e3) for row, name in names if row not in lost}


def _watch(call: Call, clock: Callable[[], float], *, warm: bool) -> Stopwatch:
    def watch() -> float:
        if warm:
            call()
        began = clock()
        call()
        return clock() - began

    return watch


def _orders(calls: int, rounds: int) -> list[list[int]]:
    """An order of the calls for every round; none comes twice in a row, where there are several."""
    rng = np.random.default_rng(0)
    orders: list[list[int]] = []
    for _ in range(rounds):
        order = rng.permutation(calls).tolist()
        orders.append(order[::-1] if orders and order[0] == orders[-1][-1] else order)
    return orders


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
