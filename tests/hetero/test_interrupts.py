"""Ctrl-C while costs are measured and stages searched: noticed at once, and the work ends, too."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest
import torch

from sparsegen.compiler import compile_graph
from sparsegen.frontend import from_torch
from sparsegen.hetero.costs.measure import on_cores
from sparsegen.lowering import build
from tests.hetero.models import small

CORE = min(os.sched_getaffinity(0))
LONG_S = 20.0


def interrupted(when: threading.Event, wait: Callable[[], object], release: Callable[[], object]) -> bool:
    """Whether Ctrl-C, once `when` is set, ends a wait of the main thread before `release` does."""
    ended, found = threading.Event(), list[bool]()

    def interrupt() -> None:
        when.wait(LONG_S)
        time.sleep(0.2)  # until the main thread waits
        os.kill(os.getpid(), signal.SIGINT)
        found.append(ended.wait(LONG_S))
        release()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        wait()
    ended.set()
    thread.join()
    return found[0]


def test_work_on_cores_ends_with_its_caller() -> None:
    begun, stop, stopped = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        try:
            while not stop.is_set():
                pass
        except KeyboardInterrupt:
            stopped.set()
            raise

    assert interrupted(begun, lambda: on_cores([CORE], work), stop.set)
    assert stopped.wait(LONG_S)


def test_waits_end_after_something_was_compiled() -> None:
    """LLVM leaves the signal so that they would go on."""
    compile_graph(from_torch(small(), (torch.zeros(1, 3, 8, 8),)), threads=1)
    waiting: SimpleQueue[None] = SimpleQueue()
    at_once = threading.Event()
    at_once.set()
    assert interrupted(at_once, waiting.get, lambda: waiting.put(None))


def test_kernels_that_wait_for_a_core_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    ran, gate = list[int](), threading.Event()
    monkeypatch.setattr("sparsegen.lowering.build.available_cores", lambda: 1)

    def compile_(number: int) -> None:
        gate.wait(LONG_S)
        ran.append(number)

    def submit(pool: ThreadPoolExecutor) -> None:
        for number in range(5):
            pool.submit(compile_, number)
        threading.Timer(0.1, gate.set).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), build._compilers() as pool:
        submit(pool)
    assert ran == [0]
