"""Lanes with made-up servers: whatever goes wrong in a thread reaches the one who waits."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from sparsegen.database.trial import Status
from sparsegen.errors import MeasurementError, SparsegenError, ToolchainError
from sparsegen.tuner.measure import lanes
from sparsegen.tuner.measure.lanes import Lanes, Task, new_worker
from sparsegen.tuner.measure.measurement import Limits, Measurement
from sparsegen.tuner.measure.process import Answer
from tests.tuner.fakes import Bowl

SECONDS = 60
FOREVER = float("inf")


class Candidate:
    """What a build makes."""

    def delete(self) -> None:
        pass


class FakeBuilders:
    """Builds at once; `prepared` is how a job's input and output came out."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.prepared = Answer("ok")

    def prepare(self, job: Any) -> Answer:
        return self.prepared

    def job_file(self, job: Any) -> Path:
        return Path("job")


class FakeWorker:
    """Answers every call with what `answers` has for its verb, or raises that."""

    def __init__(self, **answers: Answer | BaseException) -> None:
        self.answers = {"open": Answer("ok", "a machine"), "leave": Answer("ok"), **answers}
        self.killed = False

    def call(self, verb: str, *arguments: Any, limit_s: float) -> Answer:
        answer = self.answers.get(verb, Answer("ok", [(1.0,)] * len(arguments[1]) if verb == "run" else None))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def kill(self) -> None:
        self.killed = True

    def close(self) -> None:
        pass


class FakeTracker:
    """Knows one server."""

    key = "k"

    def servers(self) -> list[str]:
        return ["there:9090"]


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """End a test that waits for ever."""

    def end(*_: object) -> None:
        raise TimeoutError(f"the test took longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_POLL_S", 0.02)
    monkeypatch.setattr(lanes, "_IDLE_S", 0.02)


def lanes_of(
    worker: Any,
    builders: Any = None,
    accept: Callable[[Any], None] = lambda _: None,
    tracker: Any = None,
) -> Lanes:
    tracker = tracker or FakeTracker()
    builders = builders or FakeBuilders()
    return Lanes(tracker, builders=builders, worker=worker, helper=Path("h"), threads=1, accept=accept)


def built(answer: Answer | BaseException | None = None) -> Future[tuple[Answer, float]]:
    """A build that has ended so."""
    future: Future[tuple[Answer, float]] = Future()
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result((answer or Answer("ok", Candidate()), 0.1))
    return future


def measured(
    found: Lanes, *builds: Future[tuple[Answer, float]], deadline: float = FOREVER
) -> list[Measurement]:
    job: Any = "job"
    tasks = [
        Task(job, [Bowl(i + 1)], [build], samples=1, best_ms=FOREVER, deadline=deadline)
        for i, build in enumerate(builds)
    ]
    return [each for measurements in found.results(tasks) for each in measurements]


def test_schedules_are_measured() -> None:
    found = lanes_of(FakeWorker())
    assert [(each.status, each.times_ms) for each in measured(found, *(built() for _ in range(5)))] == [
        ("ok", (1.0,))
    ] * 5
    found.close()


@pytest.mark.parametrize("verb", ["open", "run"])
@pytest.mark.parametrize(
    ("raised", "error", "message"),
    [
        (OSError(24, "Too many open files"), MeasurementError, "broke off .OSError: .*Too many open files"),
        (ToolchainError("no room"), ToolchainError, "no room"),
        (KeyError("a fault of ours"), MeasurementError, "key 'k' broke off .KeyError: 'a fault of ours'"),
    ],
)
def test_what_a_thread_raises_reaches_the_caller_and_the_lane_goes_on(
    verb: str, raised: BaseException, error: type[SparsegenError], message: str
) -> None:
    worker = FakeWorker(**{verb: raised})
    found = lanes_of(worker)
    with pytest.raises(error, match=message):
        measured(found, built(), built())
    worker.answers = FakeWorker().answers
    assert [each.status for each in measured(found, built())] == ["ok"]
    found.close()


def test_too_many_open_files_end_measuring_with_advice() -> None:
    """As it happens: the lane's process cannot be started."""
    found = lanes_of(new_worker())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(MeasurementError, match=r"Too many open files; .*`ulimit -n`"):
            measured(found, built(), built())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        found.close()


def test_no_thread_for_a_lane_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(MeasurementError, match=r"no thread .*can't start new thread.*`ulimit -u`"):
        lanes_of(FakeWorker())


def test_a_build_that_raises_reaches_the_caller() -> None:
    found = lanes_of(FakeWorker())
    with pytest.raises(MeasurementError, match="no process could be started"):
        measured(found, built(MeasurementError("no process could be started")), built())
    found.close()


def test_a_server_that_is_not_accepted_ends_measuring_and_is_given_up() -> None:
    def refuse(machine: Any) -> None:
        raise MeasurementError(f"{machine} is of another CPU")

    worker = FakeWorker()
    found = lanes_of(worker, accept=refuse)
    with pytest.raises(MeasurementError, match="a machine is of another CPU"):
        measured(found, built())
    assert worker.killed
    found.close()


@pytest.mark.parametrize("status", ["lost", "timeout", "build error"])
def test_a_build_that_fails_is_a_measurement(status: Status) -> None:
    found = lanes_of(FakeWorker())
    results = measured(found, built(Answer(status, error="why")), built())
    assert sorted((each.status, each.error) for each in results) == sorted([("ok", ""), (status, "why")])
    found.close()


def test_a_job_that_cannot_be_prepared_says_why() -> None:
    builders = FakeBuilders()
    builders.prepared = Answer("timeout", error="prepare took longer than 120 s")
    found = lanes_of(FakeWorker(), builders)
    (result,) = measured(found, built())
    assert (result.status, result.error) == ("timeout", "prepare took longer than 120 s")
    found.close()


def test_a_lane_that_sleeps_does_not_keep_others_waiting_for_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(FakeTracker):
        asked = 0

        def servers(self) -> list[str]:
            self.asked += 1
            if self.asked == 1:  # when lanes are made: one for each
                return ["here:9090", "there:9090"]
            raise MeasurementError("there is no server")

    monkeypatch.setattr(lanes, "GONE_S", 0.1)
    monkeypatch.setattr(lanes, "new_worker", lambda: FakeWorker(open=Answer("lost", error="no server")))
    found = lanes_of(FakeWorker(open=Answer("lost", error="no server")), tracker=Gone())
    with pytest.raises(MeasurementError, match="no server has been left for 0 s: there is no server"):
        measured(found, built())
    found.close()


def test_nothing_is_left_to_wait_for_after_the_deadline() -> None:
    found = lanes_of(FakeWorker(open=Answer("lost", error="no server")))
    assert measured(found, built(), built(), deadline=0.0) == []
    found.close()
