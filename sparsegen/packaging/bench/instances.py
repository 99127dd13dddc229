"""Instances side by side: started together, watched, and all ended, however that goes."""

from __future__ import annotations

import mmap
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import ForkProcess
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from sparsegen_runtime.variant import Variant

from sparsegen.errors import MeasurementError
from sparsegen.packaging.bench.instance import Failed, Ready, Task, Times, draw_inputs, serve

_AHEAD_S = 0.02  # in which all of them learn when to begin
_ENDING_S = 5.0  # of a process that has closed its pipe

T = TypeVar("T")
Tick = Callable[[int], None]
"""Told every now and then how many calls all instances have made."""


@dataclass(frozen=True)
class _Process:
    running: ForkProcess
    pipe: connection.Connection


class Instances:
    """Processes that call a variant, each on cores of its own; they end where a `with` block does.

    They are forks of this process: code and weights, which it has made ready, are in memory once.
    """

    def __init__(self, variant: Variant, cores: Sequence[Sequence[int]]) -> None:
        counts = np.frombuffer(mmap.mmap(-1, 8 * len(cores)), np.int64)
        self._task, self._cores = Task(variant, draw_inputs(variant), counts), cores
        self._processes: list[_Process] = []

    def __enter__(self) -> Self:
        try:
            for place, cores in enumerate(self._cores):
                self._start(place, cores)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def ready(self) -> list[Ready]:
        """Wait until all are warm. Raises MeasurementError, as all here, where one fails or dies."""
        return self._answers(Ready)

    def measure(self, seconds: float, *, ticks: int, tick: Tick) -> list[Times]:
        """Let all run for so many seconds; meanwhile `tick` is called at most so many times."""
        begin = time.perf_counter() + _AHEAD_S
        for process in self._processes:
            with suppress(BrokenPipeError):  # it has died, which its answer will tell
                process.pipe.send((begin, begin + seconds))
        return self._answers(Times, seconds / (ticks + 1), ticks, tick)

    def _start(self, place: int, cores: Sequence[int]) -> None:
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        running = context.Process(target=serve, args=(theirs, self._task, place, cores), daemon=True)
        # A Ctrl-C meets each process before or after a fork.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            running.start()
            self._processes.append(_Process(running, ours))
        except OSError as error:
            ours.close()
            raise MeasurementError(f"instance {place + 1} cannot be started: {error.strerror}") from error
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _answers(
        self, kind: type[T], every: float | None = None, ticks: int = 0, tick: Tick = lambda calls: None
    ) -> list[T]:
        """One answer of each, of a kind; every so many seconds, `tick` is called."""
        places = {process.pipe: place for place, process in enumerate(self._processes)}
        found: dict[int, T] = {}
        while places:
            answered = connection.wait(list(places), every)
            for pipe in answered:
                assert isinstance(pipe, connection.Connection)
                place = places.pop(pipe)
                found[place] = self._answer(place, kind)
            if not answered and ticks:
                ticks -= 1
                tick(int(self._task.counts.sum()))
        return [found[place] for place in sorted(found)]

    def _answer(self, place: int, kind: type[T]) -> T:
        process = self._processes[place]
        try:
            answer: Any = process.pipe.recv()
        except (EOFError, ConnectionResetError):
            process.running.join(_ENDING_S)
            answer = Failed(_how_it_ended(process.running.exitcode))
        if isinstance(answer, kind):
            return answer
        raise MeasurementError(
            f"instance {place + 1} of {len(self._processes)} failed: {getattr(answer, 'why', answer)}; the "
            "others were stopped, and nothing was measured"
        )

    def _end(self) -> None:
        for process in self._processes:
            process.running.kill()
        for process in self._processes:
            process.running.join()
            process.pipe.close()


def _how_it_ended(status: int | None) -> str:
    if status is None:
        return "it closed its pipe and runs on"
    if status >= 0:
        return f"its process ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    why = ", as the system does where memory is short" if name == "SIGKILL" else ""
    return f"its process was ended by {name} (status {status}){why}"
