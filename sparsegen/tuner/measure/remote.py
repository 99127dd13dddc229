"""Measuring on other machines, which run TVM's RPC servers: candidates are built here, and run there.

The generated code runs on TVM's own thread pool there, with nothing but TVM's wheel installed, and is
timed by TVM's `time_evaluator`. So absolute times differ a little from those measured here, on torch's
threads; schedules compare alike.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import tvm_ffi.libinfo

from sparsegen.database.workload import Setting, setting_here
from sparsegen.errors import SparsegenError
from sparsegen.kernels.space import KernelSchedule
from sparsegen.target import Target, parse_target
from sparsegen.tuner.jobs import Job
from sparsegen.tuner.measure.candidate import Artefact
from sparsegen.tuner.measure.local import PREPARE_S, Builders, discard, outcomes
from sparsegen.tuner.measure.measurement import Limits, Measurement
from sparsegen.tuner.measure.process import Answer, Worker
from sparsegen.tuner.measure.remote_worker import Machine
from sparsegen.tuner.measure.tracker import Tracker

_WORKER = "sparsegen.tuner.measure.remote_worker"
_HELPER = Path(__file__).with_name("server.c")
_WAIT_S = 30.0  # for a server to come back, or to become free
_BUSY_S = 600.0  # the same, where the tracker knows of servers: others may be using them
_CONNECT_S = 30.0  # to begin a session
_TRANSFER_S = 30.0  # to carry a candidate and its output over the network
_POLL_S = 1.0

Results = queue.SimpleQueue[list[Measurement] | SparsegenError]


@dataclass(eq=False)
class _Task:
    """Schedules to time on one server in turn, and where to put what becomes of them."""

    job: Job
    schedules: Sequence[KernelSchedule]
    building: Sequence[Future[tuple[Answer, float]]]
    samples: int
    best_ms: float
    deadline: float
    results: Results


@dataclass(eq=False)
class _Lane:
    """A thread that gives one server after another its tasks; since when it has been waiting for one."""

    worker: Worker
    waiting_since: float | None = None
    reason: str = ""
    thread: threading.Thread | None = field(default=None, repr=False)


class RemoteMeasurer:
    """Measures on every server that a tracker has under a key; make one with `connect`.

    Each server times one candidate at a time, whatever the others do. A session with a server lasts a
    minute or so, after which other users of the tracker have their turn. A server that dies, or a
    candidate that crashes or hangs, costs that candidate only. `target` and `setting` are the servers'.
    """

    def __init__(
        self, tracker: Tracker, machine: Machine, builders: Builders, helper: Path, threads: int, limits: Limits
    ) -> None:
        found = parse_target(machine.cpu, elsewhere=True)
        self.target: Target = replace(
            found,
            cores=machine.cores,
            l1_bytes=machine.l1_bytes or found.l1_bytes,
            l2_bytes=machine.l2_bytes or found.l2_bytes,
        )
        self.setting: Setting = replace(setting_here(self.target, threads), machine=machine.name)
        self.limits = limits
        self._tracker, self._machine, self._helper, self._threads = tracker, machine, helper, threads
        self._builders = builders
        self._lanes: list[_Lane] = []
        self._tasks: deque[_Task] = deque()
        self._changed = threading.Condition()
        self._closed = False

    @classmethod
    def connect(
        cls, address: str, key: str, *, threads: int, limits: Limits | None = None
    ) -> RemoteMeasurer:
        """A measurer on the servers of `key` that the tracker at `address`, HOST:PORT, knows.

        Raises SparsegenError for an address that is none, where no tracker answers there, where it has
        no server of the key or none becomes free, and for servers of different CPUs, without AVX2, or
        with fewer cores than `threads`.
        """
        tracker = Tracker.parse(address, key)
        servers = tracker.servers()
        limits = limits or Limits()
        builders = Builders(sorted(os.sched_getaffinity(0)), limits)
        try:
            helper = _build_helper(builders.path)
            machines = _describe(tracker, helper, len(servers))
            for machine in machines:
                _check(machine, machines[0], threads)
            return cls(tracker, machines[0], builders, helper, threads, limits)
        except BaseException:
            builders.close()
            raise

    def measure(
        self, job: Job, schedules: Sequence[KernelSchedule], *, best_ms: float, deadline: float
    ) -> Iterator[Measurement]:
        """As `Measurer.measure`.

        Raises SparsegenError where no server is left for half a minute, or one joins of another CPU.
        """
        results: Results = queue.SimpleQueue()
        for schedule in schedules:
            building = self._builders.build(job, schedule, deadline=deadline)
            self._add(
                _Task(job, [schedule], [building], self.limits.samples, best_ms, deadline, results)
            )
        left = len(schedules)
        self._staff()
        try:
            while left:
                left -= 1
                yield from self._next(results)
                if time.monotonic() >= deadline:
                    left -= self._withdraw(results)
        finally:
            self._withdraw(results)

    def race(self, job: Job, schedules: Sequence[KernelSchedule]) -> list[Measurement]:
        """As `Measurer.race`, all on one server."""
        results: Results = queue.SimpleQueue()
        forever = float("inf")
        building = [self._builders.build(job, schedule, deadline=forever) for schedule in schedules]
        self._add(_Task(job, schedules, building, self.limits.race_samples, forever, forever, results))
        self._staff()
        try:
            return self._next(results)
        finally:
            self._withdraw(results)

    def close(self) -> None:
        """As `Measurer.close`."""
        with self._changed:
            self._closed = True
            self._tasks.clear()
            self._changed.notify_all()
        for lane in self._lanes:
            lane.worker.close()
        self._builders.close()

    def _add(self, task: _Task) -> None:
        with self._changed:
            self._tasks.append(task)
            self._changed.notify_all()

    def _withdraw(self, results: Results) -> int:
        """Take back the tasks that nobody has begun; their number."""
        with self._changed:
            mine = [task for task in self._tasks if task.results is results]
            for task in mine:
                self._tasks.remove(task)
        for task in mine:
            for building in task.building:
                discard(building)
        return len(mine)
