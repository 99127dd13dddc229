"""Measuring on other machines, which run TVM's RPC servers: candidates are built here, and run there.

The generated code runs on TVM's own thread pool there, with nothing but TVM's wheel installed, and is
timed by TVM's `time_evaluator`. So absolute times differ a little from those measured here, on torch's
threads; schedules compare alike.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from tvm_ffi import libinfo

from sparsegen.database.workload import Setting, setting_here
from sparsegen.errors import MeasurementError, SparsegenError
from sparsegen.kernels.space import KernelSchedule
from sparsegen.lowering.library import run_gcc
from sparsegen.target import Target, native_target
from sparsegen.tuner.jobs import Job
from sparsegen.tuner.measure.candidate import Artefact
from sparsegen.tuner.measure.local import Builders, discard, outcomes
from sparsegen.tuner.measure.measurement import Limits, Measurement
from sparsegen.tuner.measure.process import Answer, Worker
from sparsegen.tuner.measure.tracker import Machine, Tracker

_WORKER = "sparsegen.tuner.measure.remote_worker"
_HELPER = Path(__file__).with_name("server.c")
_GONE_S = 30.0  # without any server, after which measuring ends
_BUSY_S = 600.0  # the same, while the tracker knows of servers: others may be using them
_CONNECT_S = 30.0  # to begin a session
_TRANSFER_S = 30.0  # to carry a candidate and its output over the network
_IDLE_S = 2.0  # after which a server is given back
_POLL_S = 1.0


@dataclass(eq=False)
class _Task:
    """Schedules to time in turn on one server."""

    job: Job
    schedules: Sequence[KernelSchedule]
    building: Sequence[Future[tuple[Answer, float]]]
    samples: int
    best_ms: float
    deadline: float
    state: Literal["building", "built", "taken"] = "building"


@dataclass(eq=False)
class _Lane:
    """A thread with a process that has one server at a time; since when it has waited for one, and why."""

    worker: Worker
    has_server: bool = False
    waiting_since: float | None = None
    trouble: str = ""


_Results = queue.SimpleQueue[list[Measurement] | SparsegenError]


class RemoteMeasurer:
    """Measures on every server that a tracker has under a key; make one with `connect`.

    Each server times one candidate at a time, whatever the others do. It is given back when there is
    nothing to do, and every minute or so, for other users of the tracker to have their turn. A server
    that dies, or a candidate that crashes or hangs, costs that candidate only. `target` and `setting`
    are the servers'.
    """

    def __init__(
        self,
        tracker: Tracker,
        machine: Machine,
        *,
        builders: Builders,
        worker: Worker,
        helper: Path,
        threads: int,
    ) -> None:
        self.target: Target = native_target(machine.host)
        self.setting: Setting = replace(setting_here(self.target, threads), machine=machine.host.model)
        self.limits = builders.limits
        self._tracker, self._machine, self._builders = tracker, machine, builders
        self._helper, self._threads = helper, threads
        self._lanes: list[_Lane] = []
        self._built: deque[tuple[_Task, _Results]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._add_lane(worker)

    @classmethod
    def connect(cls, address: str, key: str, *, threads: int, limits: Limits | None = None) -> RemoteMeasurer:
        """A measurer on the servers of `key` that the tracker at `address`, HOST:PORT, knows.

        Raises SparsegenError for an address that is none, where no tracker answers there, where it has
        no server of the key or none becomes free, and for servers of different CPUs, without AVX2, or
        with fewer cores than `threads`.
        """
        tracker = Tracker.parse(address, key)
        servers = tracker.servers()
        builders, worker = Builders(_cores(), limits or Limits()), _new_worker()
        try:
            helper = _build_helper(builders.path)
            machines = _describe(tracker, helper, servers, worker)
            for machine in machines:
                _check(machine, machines[0], threads)
            return cls(tracker, machines[0], builders=builders, worker=worker, helper=helper, threads=threads)
        except BaseException:
            worker.close()
            builders.close()
            raise

    def measure(
        self, job: Job, schedules: Sequence[KernelSchedule], *, best_ms: float, deadline: float
    ) -> Iterator[Measurement]:
        """As `Measurer.measure`.

        Raises SparsegenError where no server is left for half a minute, or one joins of another CPU.
        """
        tasks = [
            self._task(job, [schedule], self.limits.samples, best_ms, deadline) for schedule in schedules
        ]
        for measurements in self._results(tasks):
            yield from measurements

    def race(self, job: Job, schedules: Sequence[KernelSchedule]) -> list[Measurement]:
        """As `Measurer.race`, all on one server."""
        forever = float("inf")
        (measurements,) = self._results(
            [self._task(job, schedules, self.limits.race_samples, forever, forever)]
        )
        return measurements

    def close(self) -> None:
        """As `Measurer.close`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for lane in self._lanes:
            lane.worker.close()
        self._builders.close()

    def _task(
        self, job: Job, schedules: Sequence[KernelSchedule], samples: int, best_ms: float, deadline: float
    ) -> _Task:
        building = [self._builders.build(job, schedule, deadline=deadline) for schedule in schedules]
        return _Task(job, schedules, building, samples, best_ms, deadline)

    def _results(self, tasks: Sequence[_Task]) -> Iterator[list[Measurement]]:
        """What becomes of each task, as soon as it is known; of nothing else after their deadline."""
        results: _Results = queue.SimpleQueue()
        self._staff()
        for task in tasks:
            for building in task.building:
                building.add_done_callback(partial(self._queue, task, results))
        left = len(tasks)
        try:
            while left:
                try:
                    found = results.get(timeout=_POLL_S)
                except queue.Empty:
                    self._check_servers()
                else:
                    if isinstance(found, SparsegenError):
                        raise found
                    left -= 1
                    yield found
                if time.monotonic() >= tasks[0].deadline:
                    left -= self._withdraw(tasks)
        finally:
            self._withdraw(tasks)

    def _queue(self, task: _Task, results: _Results, _: Future[tuple[Answer, float]]) -> None:
        """Hand a task to the lanes, if all of it is built."""
        with self._changed:
            if self._closed or task.state != "building" or not all(each.done() for each in task.building):
                return
            task.state = "built"
            self._built.append((task, results))
            self._changed.notify()

    def _withdraw(self, tasks: Sequence[_Task]) -> int:
        """Take back the tasks that no lane has begun; their number."""
        with self._changed:
            mine = [task for task in tasks if task.state != "taken"]
            for task in mine:
                task.state = "taken"
            self._built = deque(entry for entry in self._built if entry[0].state == "built")
        for task in mine:
            for building in task.building:
                discard(building)
        return len(mine)

    def _staff(self) -> None:
        """Have a lane for every server that there is now."""
        try:
            servers = len(self._tracker.servers())
        except SparsegenError:  # the lanes will see whether it comes back
            servers = 1
        while len(self._lanes) < servers:
            self._add_lane(_new_worker())

    def _add_lane(self, worker: Worker) -> None:
        self._lanes.append(_Lane(worker))
        threading.Thread(target=self._serve, args=(self._lanes[-1],), daemon=True).start()

    def _check_servers(self) -> None:
        """Raise SparsegenError where every lane has waited for a server too long."""
        since = [lane.waiting_since for lane in self._lanes]
        waited = time.monotonic() - max(time.monotonic() if each is None else each for each in since)
        if waited < _GONE_S:
            return
        try:
            servers = self._tracker.servers()
        except SparsegenError as error:
            raise MeasurementError(f"no server has been left for {waited:.0f} s: {error}") from error
        if waited >= _BUSY_S:
            raise MeasurementError(
                f"none of the servers {', '.join(servers)} has been free for {waited:.0f} s "
                f"({self._lanes[0].trouble}); restart those that do not answer"
            )

    def _serve(self, lane: _Lane) -> None:
        """Do tasks, until the measurer is closed."""
        while True:
            with self._changed:
                if not self._built:
                    lane.waiting_since = None
                    idle = _IDLE_S if lane.has_server else None
                    self._changed.wait_for(lambda: self._built or self._closed, timeout=idle)
                if self._closed:
                    return
                first = self._built[0] if self._built else None
            if first is None:
                lane.worker.call("leave", limit_s=_CONNECT_S)
                lane.has_server = False
            elif self._open(lane, *first):
                self._run_next(lane)
            else:
                time.sleep(_POLL_S)

    def _run_next(self, lane: _Lane) -> None:
        with self._changed:
            if not self._built:
                return  # another lane was quicker
            task, results = self._built.popleft()
            task.state = "taken"
        try:
            results.put(self._run(lane, task))
        except SparsegenError as error:
            results.put(error)

    def _open(self, lane: _Lane, task: _Task, results: _Results) -> bool:
        """Have a server for a task, which must not wait for one while others are free: it stays queued."""
        try:
            # What goes wrong in a process here goes wrong again in `run`, which tells of it.
            self._builders.prepare(task.job)
        except SparsegenError as error:
            results.put(error)
            return False
        lane.waiting_since = lane.waiting_since or time.monotonic()
        answer = lane.worker.call(
            "open",
            self._tracker,
            self._helper,
            self._threads,
            self._limit_s(task),
            _GONE_S,
            limit_s=_GONE_S + _CONNECT_S,
        )
        lane.has_server = answer.status == "ok"
        if not lane.has_server:
            lane.trouble = answer.error
            return False
        lane.waiting_since = None
        try:
            _check(answer.value, self._machine, self._threads)
        except SparsegenError as error:
            lane.worker.kill()
            results.put(error)
            return False
        return True

    def _run(self, lane: _Lane, task: _Task) -> list[Measurement]:
        """Time what was built of a task; nothing where it is too late for it."""
        builds = [building.result() for building in task.building]
        if time.monotonic() >= task.deadline or any(answer.status == "lost" for answer, _ in builds):
            for building in task.building:
                discard(building)
            return []
        path = self._builders.job_file(task.job)
        hopeless = self.limits.hopeless * task.best_ms

        def run(artefacts: Sequence[Artefact]) -> Answer:
            limit = self._limit_s(task)
            return lane.worker.call("run", path, artefacts, task.samples, hopeless, limit_s=limit)

        return outcomes(task.schedules, builds, run)

    def _limit_s(self, task: _Task) -> float:
        return self.limits.run_s * len(task.schedules) + _TRANSFER_S


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _new_worker() -> Worker:
    return Worker(_cores(), module=_WORKER)


def _build_helper(folder: Path) -> Path:
    path = folder / "server.so"
    include = f"-I{libinfo.find_include_path()}"
    run_gcc("what RPC servers lack", ["-shared", "-fPIC", "-O1", include, "-o", str(path), str(_HELPER)])
    return path


def _describe(tracker: Tracker, helper: Path, servers: Sequence[str], worker: Worker) -> list[Machine]:
    """The machines of the servers that are free."""
    limit = _GONE_S + _CONNECT_S * len(servers)
    answer = worker.call("describe", tracker, helper, len(servers), _GONE_S, limit_s=limit)
    names = ", ".join(servers)
    if answer.status != "ok":
        raise MeasurementError(
            f"no session with an RPC server of key {tracker.key!r} ({names}): {answer.error}; check that its "
            "port can be reached from here, and that the same TVM is installed there"
        )
    machines: list[Machine] = answer.value
    if not machines:
        raise MeasurementError(
            f"every RPC server of key {tracker.key!r} is busy ({names}); wait, or start another"
        )
    return machines


def _check(machine: Machine, first: Machine, threads: int) -> None:
    """Raise SparsegenError for a server that is not like the first, or has too few cores."""
    if not machine.same_cpu(first):
        raise MeasurementError(
            f"the RPC servers of one key must have the same CPU: {first}, {machine}; give one another key"
        )
    if machine.host.cores < threads:
        raise MeasurementError(
            f"the RPC server {machine.server} has {machine.host.cores} cores, too few for {threads} threads"
        )
