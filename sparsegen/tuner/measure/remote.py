"""Measuring on other machines, which run TVM's RPC servers: candidates are built here, and run there.

The generated code runs on TVM's own thread pool there, with nothing but TVM's wheel installed, and is
timed by TVM's `time_evaluator`. So absolute times differ a little from those measured here, on torch's
threads; schedules compare alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tvm_ffi import libinfo

from sparsegen.database.workload import Setting, setting_here
from sparsegen.errors import MeasurementError
from sparsegen.kernels.space import KernelSchedule
from sparsegen.lowering.library import run_gcc
from sparsegen.target import Target, native_target
from sparsegen.tuner.jobs import Job
from sparsegen.tuner.measure.lanes import CONNECT_S, GONE_S, Lanes, Task, cores, new_worker
from sparsegen.tuner.measure.local import Builders
from sparsegen.tuner.measure.measurement import Limits, Measurement
from sparsegen.tuner.measure.process import Worker
from sparsegen.tuner.measure.tracker import Machine, Tracker

_HELPER = Path(__file__).with_name("server.c")
_COMPILE_S = 60.0  # for gcc, for a few lines


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
        self._machine, self._builders, self._threads = machine, builders, threads
        self._lanes = Lanes(
            tracker, builders=builders, worker=worker, helper=helper, threads=threads, accept=self._accept
        )

    @classmethod
    def connect(cls, address: str, key: str, *, threads: int, limits: Limits | None = None) -> RemoteMeasurer:
        """A measurer on the servers of `key` that the tracker at `address`, HOST:PORT, knows.

        Raises SparsegenError for an address that is none, where no tracker answers there, where it has
        no server of the key or none becomes free, and for servers of different CPUs, without AVX2, or
        with fewer cores than `threads`.
        """
        tracker = Tracker.parse(address, key)
        servers = tracker.servers()
        builders, worker = Builders(cores(), limits or Limits()), new_worker()
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

        Raises SparsegenError where no server is left for half a minute, one joins of another CPU, or nothing
        more can be started here.
        """
        tasks = [
            self._task(job, [schedule], self.limits.samples, best_ms, deadline) for schedule in schedules
        ]
        for measurements in self._lanes.results(tasks):
            yield from measurements

    def race(self, job: Job, schedules: Sequence[KernelSchedule]) -> list[Measurement]:
        """As `Measurer.race`, all on one server."""
        forever = float("inf")
        task = self._task(job, schedules, self.limits.race_samples, forever, forever)
        (measurements,) = self._lanes.results([task])
        return measurements

    def close(self) -> None:
        """As `Measurer.close`."""
        self._lanes.close()
        self._builders.close()

    def _task(
        self, job: Job, schedules: Sequence[KernelSchedule], samples: int, best_ms: float, deadline: float
    ) -> Task:
        building = [self._builders.build(job, schedule, deadline=deadline) for schedule in schedules]
        return Task(job, schedules, building, samples, best_ms, deadline)

    def _accept(self, machine: Machine) -> None:
        _check(machine, self._machine, self._threads)


def _build_helper(folder: Path) -> Path:
    path = folder / "server.so"
    include = f"-I{libinfo.find_include_path()}"
    run_gcc("what RPC servers lack", ["-shared", "-fPIC", "-O1", include, "-o", str(path), str(_HELPER)])
    return path


def _describe(tracker: Tracker, helper: Path, servers: Sequence[str], worker: Worker) -> list[Machine]:
    """The machines of the servers that are free."""
    limit = GONE_S + CONNECT_S * len(servers)
    answer = worker.call("describe", tracker, helper, len(servers), GONE_S, limit_s=limit)
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
