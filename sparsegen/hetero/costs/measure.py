"""Seconds of a model's layers on the devices that are here: whole calls, layer by layer, in turn.

What is compared is measured in turn (A B A B), so that a machine that changes its clock changes it for all;
the medians are taken. Only our own kernels' and torch's calls are timed: what is converted at a model's
edges counts to the layers there.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch

from sparsegen.errors import DeviceError
from sparsegen.runtime.model import CompiledModel

T = TypeVar("T")
Timed = Callable[[], Mapping[str, float]]
"""Calls a model, and gives the seconds of each of its layers."""

SAMPLES = 15
WARM_UP = 3
_PATIENCE_S = 0.1


def in_turn(timed: Sequence[Timed], samples: int = SAMPLES) -> list[dict[str, float]]:
    """The medians of each model's layers, the models called one after the other, again and again."""
    found = samples_in_turn(timed, samples)
    return [{name: statistics.median(values) for name, values in each.items()} for each in found]


def samples_in_turn(timed: Sequence[Timed], samples: int) -> list[dict[str, list[float]]]:
    """As `in_turn`, all that was measured."""
    found: list[defaultdict[str, list[float]]] = [defaultdict(list) for _ in timed]
    for sample in range(WARM_UP + samples):
        for into, each in zip(found, timed, strict=True):
            seconds = each()
            if sample >= WARM_UP:
                for name, value in seconds.items():
                    into[name].append(value)
    return [dict(each) for each in found]


def call_seconds(model: CompiledModel, inputs: Sequence[Any]) -> dict[str, float]:
    """Seconds of each call of a program of ours, by its name: of layers, and of conversions beside them."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for name, begin, end in model.timeline(*inputs):
        seconds[name] += end - begin
    return dict(seconds)


def seconds_in_turn(
    calls: Mapping[str, Callable[[], object]], samples: int = 2 * SAMPLES
) -> dict[str, float]:
    """Medians of each call, one after the other, again and again."""
    return {name: statistics.median(values) for name, values in rounds_in_turn(calls, samples).items()}


def rounds_in_turn(
    calls: Mapping[str, Callable[[], object]], samples: int = 2 * SAMPLES
) -> dict[str, list[float]]:
    """As `seconds_in_turn`, all that was measured, round by round."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for sample in range(WARM_UP + samples):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            if sample >= WARM_UP:
                found[name].append(time.perf_counter() - begun)
    return found


def join(thread: threading.Thread) -> None:
    """Wait until a thread has ended; an exception here, as by Ctrl-C, is raised in that thread, too."""
    try:
        while (
            thread.is_alive()
        ):  # in short waits: LLVM, while it compiles, has longer ones go on after Ctrl-C
            thread.join(_PATIENCE_S)
    except BaseException as error:
        identity = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(type(error)))
        raise


def on_cores(cores: Sequence[int], work: Callable[[], T]) -> T:
    """The result of `work`, which runs on a thread of its own that is pinned to the cores, as are its team's.

    Ctrl-C ends the work, too. Raises DeviceError for cores that this process may not run on.
    """
    done: list[Any] = []

    def run() -> None:
        try:
            os.sched_setaffinity(0, cores)
            torch.set_num_threads(len(cores))
            done.append((True, work()))
        except BaseException as error:  # it is the caller's
            done.append((False, error))

    lacking = sorted({*cores} - os.sched_getaffinity(0))
    if lacking:
        raise DeviceError(f"this process may not run on core {', '.join(map(str, lacking))}")
    thread = threading.Thread(target=run, name="sparsegen-measure", daemon=True)
    thread.start()
    join(thread)
    ((well, result),) = done
    if not well:
        raise result
    value: T = result
    return value
