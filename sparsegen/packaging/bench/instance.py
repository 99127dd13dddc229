"""One instance: a process on cores of its own that calls a model again and again."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sparsegen_runtime.interface import own_teams
from sparsegen_runtime.tensors import new_result
from sparsegen_runtime.variant import Variant

from sparsegen.errors import SparsegenError
from sparsegen.packaging.bench.memory import Memory, read_memory

WARM_UP_CALLS = 3
WARM_UP_SECONDS = 0.5
MOST_TIMES = 1 << 20
"""Latencies that an instance keeps: of more calls, of every second, then of every fourth, and so on."""
_PR_SET_PDEATHSIG = 1
_clock = time.perf_counter  # of the system's start, so that it is the same in all processes


@dataclass(frozen=True)
class Ready:
    """An instance that is warm: calls that it took, and its memory."""

    warm_up_calls: int
    memory: Memory | None


@dataclass(frozen=True)
class Times:
    """What an instance did: `calls` in `seconds`, the longest in `longest` seconds.

    `kept` are the seconds of every `stride`th call.
    """

    calls: int
    seconds: float
    longest: float
    kept: NDArray[np.float64]
    stride: int


@dataclass(frozen=True)
class Failed:
    """Why an instance cannot go on."""

    why: str


@dataclass(frozen=True)
class Task:
    """What instances have in common: a variant, its inputs, and, in memory that all see, calls of each.

    An instance writes its `counts` as it makes the calls.
    """

    variant: Variant
    inputs: Sequence[NDArray[Any]]
    counts: NDArray[np.int64]


def serve(connection: Connection, task: Task, place: int, cores: Sequence[int]) -> None:
    """Run in a forked process: answer Ready, be told when to begin and to end, answer Times; or Failed.

    It is the instance of a place, and keeps to cores.
    """
    try:
        _confine(cores)
        call = bound_call(task.variant, task.inputs)
        connection.send(Ready(_warm_up(call), read_memory()))
        begin, end = connection.recv()
        connection.send(timed(call, begin, end, lambda calls: task.counts.__setitem__(place, calls)))
    except EOFError:  # nobody is there to tell
        return
    except (SparsegenError, OSError, MemoryError) as error:
        connection.send(Failed(str(error) or type(error).__name__))


def _confine(cores: Sequence[int]) -> None:
    """Bear the terminal's Ctrl-C, die with the parent, and keep to cores and to threads of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, cores)
    own_teams()
    gc.disable()  # it takes time, and writes to, which is to copy, what processes share


def draw_inputs(variant: Variant) -> list[NDArray[Any]]:
    """Inputs for a variant: random floats, zeros for all else, which may be indices."""
    rng = np.random.default_rng(0)
    return [
        rng.standard_normal(form.shape).astype(form.dtype)
        if form.dtype.kind == "f"
        else np.zeros(form.shape, form.dtype)
        for form in variant.inputs
    ]


def bound_call(variant: Variant, arrays: Sequence[NDArray[Any]]) -> Callable[[], None]:
    """A call of a variant on copies of arrays, and on memory for results, that are this process's own."""
    given = [new_result(form, form.shape, False) for form in variant.inputs]
    for (held, _), drawn in zip(given, arrays, strict=True):
        held[...] = drawn
    made = [new_result(form, form.shape, False) for form in variant.outputs]
    inputs, outputs = ([address for _, address in pairs] for pairs in (given, made))

    def call(kept: object = (given, made)) -> None:
        variant.run(inputs, outputs)

    return call


def _warm_up(call: Callable[[], None]) -> int:
    """Make calls until caches are full and the clock is up; returns how many."""
    calls, end = 0, _clock() + WARM_UP_SECONDS
    while calls < WARM_UP_CALLS or _clock() < end:
        call()
        calls += 1
    return calls


def timed(
    call: Callable[[], object],
    begin: float,
    end: float,
    tell: Callable[[int], object],
    *,
    clock: Callable[[], float] = _clock,
) -> Times:
    """Make calls from one time to another, at least one, and take the time of each."""
    kept, stride, calls, longest = array("d"), 1, 0, 0.0
    while (now := clock()) < begin:
        time.sleep(min(begin - now, 1e-3))
    started = now
    while now < end or not calls:
        call()
        after = clock()
        longest = max(longest, after - now)
        if calls % stride == 0:
            kept.append(after - now)
            if len(kept) == MOST_TIMES:
                kept, stride = kept[::2], 2 * stride
        calls += 1
        tell(calls)
        now = clock()
    return Times(calls, now - started, longest, np.asarray(kept), stride)
