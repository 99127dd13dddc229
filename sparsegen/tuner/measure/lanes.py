"""What measures on servers: threads, each with one server at a time, and the tasks that they share.

Whatever goes wrong in a thread reaches the one who waits for results: as a measurement, or as an error.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from sparsegen.errors import MeasurementError, SparsegenError
from sparsegen.kernels.space import KernelSchedule
from sparsegen.tuner.jobs import Job
from sparsegen.tuner.measure.candidate import BuiltCandidate
from sparsegen.tuner.measure.local import Builders, discard, outcomes
from sparsegen.tuner.measure.measurement import Measurement
from sparsegen.tuner.measure.process import Answer, Worker
from sparsegen.tuner.measure.tracker import Machine, Tracker

GONE_S = 30.0  # without any server, after which measuring ends
CONNECT_S = 30.0  # to begin a session
_BUSY_S = 600.0  # as GONE_S, while the tracker knows of servers: others may be using them
_TRANSFER_S = 30.0  # to carry a candidate and its output over the network
_IDLE_S = 2.0  # after which a server is given back
_POLL_S = 1.0
_WORKER = "sparsegen.tuner.measure.remote_worker"


@dataclass(eq=False)
class Task:
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


_Results = queue.SimpleQueue[list[Measurement] | BaseException]


class Lanes:
    """The lanes of a tracker's servers: one for each, as many as there ever were.

    `accept` raises SparsegenError for a server that is not to be used, which ends measuring; `helper` is
    server.c's library.
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        builders: Builders,
        worker: Worker,
        helper: Path,
        threads: int,
        accept: Callable[[Machine], None],
    ) -> None:
        self._tracker, self._builders, self._accept = tracker, builders, accept
        self._helper, self._threads = helper, threads
        self._lanes: list[_Lane] = []
        self._built: deque[tuple[Task, _Results]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._add(worker)

    def results(self, tasks: Sequence[Task]) -> Iterator[list[Measurement]]:
        """What becomes of each task, as soon as it is known; of nothing else after their deadline.

        Raises SparsegenError for whatever a lane could not do, and where no server is left.
        """
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
                    if isinstance(found, BaseException):
                        raise self._as_error(found)
                    left -= 1
                    yield found
                if time.monotonic() >= tasks[0].deadline:
                    left -= self._withdraw(tasks)
        finally:
            self._withdraw(tasks)

    def close(self) -> None:
        """End every lane and its process at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for lane in self._lanes:
            lane.worker.close()

    def _queue(self, task: Task, results: _Results, _: Future[tuple[Answer, float]]) -> None:
        """Hand a task to the lanes, if all of it is built."""
        with self._changed:
            if self._closed or task.state != "building" or not all(each.done() for each in task.building):
                return
            task.state = "built"
            self._built.append((task, results))
            self._changed.notify()

    def _withdraw(self, tasks: Sequence[Task]) -> int:
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
            self._add(new_worker())

    def _add(self, worker: Worker) -> None:
        lane = _Lane(worker)
        try:
            threading.Thread(target=self._serve, args=(lane,), daemon=True).start()
        except RuntimeError as error:
            raise MeasurementError(
                f"no thread could be started for another server ({error}): end other programs, or raise the "
                "limit (`ulimit -u`), and run the same command again"
            ) from error
        self._lanes.append(lane)

    def _as_error(self, error: BaseException) -> SparsegenError:
        """What to raise for what a lane has raised."""
        if isinstance(error, SparsegenError):
            return error
        found = MeasurementError(
            f"measuring on servers of key {self._tracker.key!r} broke off ({type(error).__name__}: {error}); "
            "what was measured is in the journal: run the same command again"
        )
        found.__cause__ = error
        return found

    def _check_servers(self) -> None:
        """Raise SparsegenError where every lane that has something to do has waited for a server too long.

        The others sleep: a task wakes one lane, which may be the only one to look for a server.
        """
        if any(lane.has_server for lane in self._lanes):
            return
        since = [lane.waiting_since for lane in self._lanes if lane.waiting_since is not None]
        waited = time.monotonic() - max(since, default=time.monotonic())
        if waited < GONE_S:
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
        """Do tasks, until the lanes are closed: the lane's thread. What goes wrong is told to who waits."""
        while not self._closed:
            first = self._wait(lane)
            if first is None:
                continue
            task, results = first
            try:
                if self._open(lane, task):
                    self._run_next(lane)
                else:
                    time.sleep(_POLL_S)
            except BaseException as error:
                results.put(error)

    def _wait(self, lane: _Lane) -> tuple[Task, _Results] | None:
        """The next task, which stays queued; after a while without one, give the server back: None."""
        with self._changed:
            if not self._built:
                lane.waiting_since = None
                idle = _IDLE_S if lane.has_server else None
                self._changed.wait_for(lambda: self._built or self._closed, timeout=idle)
            if self._closed:
                return None
            if self._built:
                return self._built[0]
        lane.has_server = False
        with contextlib.suppress(Exception):  # nobody waits now; the next task tells of it, if it lasts
            lane.worker.call("leave", limit_s=CONNECT_S)
        return None

    def _run_next(self, lane: _Lane) -> None:
        with self._changed:
            if not self._built:
                return  # another lane was quicker
            task, results = self._built.popleft()
            task.state = "taken"
        try:
            results.put(self._run(lane, task))
        except BaseException as error:
            results.put(error)

    def _open(self, lane: _Lane, task: Task) -> bool:
        """Have a server for a task, which must not wait for one while others are free: it stays queued."""
        self._builders.prepare(task.job)  # not while a server waits for it
        lane.waiting_since = lane.waiting_since or time.monotonic()
        answer = lane.worker.call(
            "open",
            self._tracker,
            self._helper,
            self._threads,
            self._limit_s(task),
            GONE_S,
            limit_s=GONE_S + CONNECT_S,
        )
        lane.has_server = answer.status == "ok"
        if not lane.has_server:
            lane.trouble = answer.error
            return False
        lane.waiting_since = None
        try:
            self._accept(answer.value)
        except SparsegenError:
            lane.worker.kill()
            lane.has_server = False
            raise
        return True

    def _run(self, lane: _Lane, task: Task) -> list[Measurement]:
        """Time what was built of a task; nothing where it is too late for it."""
        if time.monotonic() >= task.deadline:
            for building in task.building:
                discard(building)
            return []
        builds = [building.result() for building in task.building]
        path = self._builders.job_file(task.job)
        limits = self._builders.limits

        def run(candidates: Sequence[BuiltCandidate]) -> Answer:
            prepared = self._builders.prepare(task.job)
            if prepared.status != "ok":
                return prepared
            hopeless = limits.hopeless * task.best_ms
            limit = self._limit_s(task)
            return lane.worker.call("run", path, candidates, task.samples, hopeless, limit_s=limit)

        return outcomes(task.schedules, builds, run)

    def _limit_s(self, task: Task) -> float:
        return self._builders.limits.run_s * len(task.schedules) + _TRANSFER_S


def cores() -> list[int]:
    """Those that this process may run on."""
    return sorted(os.sched_getaffinity(0))


def new_worker() -> Worker:
    """A worker that speaks with servers, not started yet."""
    return Worker(cores(), module=_WORKER)
