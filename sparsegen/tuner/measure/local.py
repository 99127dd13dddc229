"""Measuring on this machine: candidates are built by every core, then run one at a time."""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sparsegen.database.workload import Setting, setting_here
from sparsegen.files import temporary_files
from sparsegen.kernels.space import KernelSchedule
from sparsegen.target import Target
from sparsegen.tuner.jobs import Job
from sparsegen.tuner.measure.candidate import BuiltCandidate
from sparsegen.tuner.measure.folder import OwnFolder
from sparsegen.tuner.measure.measurement import Limits, Measurement
from sparsegen.tuner.measure.process import Answer, Worker

_PREPARE_S = 120.0  # to compute a layer in float64
_SPARE = 2  # cores beside the running kernel's from which builds go on meanwhile


class Builders:
    """Processes that build candidates, one a core, into a folder of their own.

    Whatever writes there raises SparsegenError where that fails, as on a full disk.
    """

    def __init__(self, cores: Sequence[int], limits: Limits) -> None:
        self._folder = OwnFolder()
        self.path = self._folder.path
        self.limits = limits
        self._pool = ThreadPoolExecutor(len(cores))
        self._workers = [Worker(cores) for _ in cores]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._names = (f"candidate_{i}" for i in itertools.count())
        self._jobs: dict[int, tuple[Job, Path]] = {}
        self._prepared: set[Path] = set()

    def job_file(self, job: Job) -> Path:
        """The file that workers read a job from."""
        if id(job) not in self._jobs:
            path = self.path / f"job_{len(self._jobs)}"
            with temporary_files():
                path.write_bytes(pickle.dumps(job))
            self._jobs[id(job)] = job, path
        return self._jobs[id(job)][1]

    def build(self, job: Job, schedule: KernelSchedule, *, deadline: float) -> Future[tuple[Answer, float]]:
        """Begin to build; the answer's value is a `BuiltCandidate`, with the seconds that it took."""
        path, name = self.job_file(job), next(self._names)

        def work() -> tuple[Answer, float]:
            if time.monotonic() >= deadline:
                return Answer("lost", error="out of time"), 0.0
            began = time.monotonic()
            answer = self._call("build", path, schedule, self.path, name, limit_s=self.limits.build_s)
            return answer, time.monotonic() - began

        return self._pool.submit(work)

    def prepare(self, job: Job) -> Answer:
        """Have a job's input and expected output worked out; once is enough."""
        path = self.job_file(job)
        if path not in self._prepared:
            answer = self._call("prepare", path, limit_s=_PREPARE_S)
            if answer.status != "ok":
                return answer
            self._prepared.add(path)
        return Answer("ok")

    def _call(self, verb: str, *arguments: Any, limit_s: float) -> Answer:
        worker = self._free.get()
        try:
            return worker.call(verb, *arguments, limit_s=limit_s)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End the processes at once, and remove what they built."""
        for worker in self._workers:
            worker.close()
        self._pool.shutdown(cancel_futures=True)
        self._folder.close()


def outcomes(
    schedules: Sequence[KernelSchedule],
    builds: Sequence[tuple[Answer, float]],
    run: Callable[[Sequence[BuiltCandidate]], Answer],
) -> list[Measurement]:
    """What became of schedules: `run` times those that were built, whose files are then deleted."""
    built = [i for i, (answer, _) in enumerate(builds) if answer.status == "ok"]
    candidates = [builds[i][0].value for i in built]
    began = time.monotonic()
    ran = run(candidates) if candidates else Answer("ok", [])
    run_s = time.monotonic() - began
    for candidate in candidates:
        candidate.delete()
    times = dict(zip(built, ran.value if ran.status == "ok" else [()] * len(built), strict=True))
    return [
        Measurement(schedule, ran.status, times[i], ran.error, build_s, run_s)
        if i in times
        else Measurement(schedule, answer.status, error=answer.error, build_s=build_s)
        for i, (schedule, (answer, build_s)) in enumerate(zip(schedules, builds, strict=True))
    ]


def discard(building: Future[tuple[Answer, float]]) -> None:
    """Delete what a build has made, or will make."""

    def delete(done: Future[tuple[Answer, float]]) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        answer, _ = done.result()
        if answer.status == "ok":
            answer.value.delete()

    building.cancel()
    building.add_done_callback(delete)


class LocalMeasurer:
    """Measures on this machine.

    Builds go on beside a running kernel only where cores are to spare for them; otherwise a batch is
    built first and run afterwards.
    """

    def __init__(self, target: Target, threads: int, limits: Limits | None = None) -> None:
        self.target = target
        self.setting: Setting = setting_here(target, threads)
        self.limits = limits or Limits()
        self._threads = threads
        cores = sorted(os.sched_getaffinity(0))
        self._apart = len(cores) - threads >= _SPARE
        self._builders = Builders(cores[threads:] if self._apart else cores, self.limits)
        self._runner = Worker(cores[:threads] if self._apart else cores)

    def measure(
        self, job: Job, schedules: Sequence[KernelSchedule], *, best_ms: float, deadline: float
    ) -> Iterator[Measurement]:
        """As `Measurer.measure`."""
        building = [self._builders.build(job, schedule, deadline=deadline) for schedule in schedules]
        if not self._apart:
            for future in building:
                future.result()
        for schedule, future in zip(schedules, building, strict=True):
            answer, seconds = future.result()
            if time.monotonic() >= deadline:
                discard(future)
                continue
            (measurement,) = outcomes(
                [schedule], [(answer, seconds)], self._running(job, self.limits.samples, best_ms)
            )
            yield measurement

    def race(self, job: Job, schedules: Sequence[KernelSchedule]) -> list[Measurement]:
        """As `Measurer.race`."""
        building = [self._builders.build(job, schedule, deadline=float("inf")) for schedule in schedules]
        builds = [future.result() for future in building]
        return outcomes(schedules, builds, self._running(job, self.limits.race_samples, float("inf")))

    def _running(
        self, job: Job, samples: int, best_ms: float
    ) -> Callable[[Sequence[BuiltCandidate]], Answer]:
        path = self._builders.job_file(job)

        def run(candidates: Sequence[BuiltCandidate]) -> Answer:
            # Not by the runner, whose memory it would leave in pieces: kernels would find fewer large pages.
            answer = self._builders.prepare(job)
            if answer.status != "ok":
                return answer
            hopeless = self.limits.hopeless * best_ms
            limit = self.limits.run_s * len(candidates)
            return self._runner.call("run", path, candidates, self._threads, samples, hopeless, limit_s=limit)

        return run

    def close(self) -> None:
        """As `Measurer.close`."""
        self._runner.close()
        self._builders.close()
