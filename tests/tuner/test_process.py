"""Workers that crash, hang, run out of memory or are wrong: each is an answer, and the next call works."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sparsegen.database.trial import Status
from sparsegen.errors import MeasurementError, ToolchainError
from sparsegen.tuner.measure import forkserver, process
from sparsegen.tuner.measure.forkserver import Forked, ForkServer
from sparsegen.tuner.measure.process import Answer, Worker

CORES = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(CORES, module="tests.tuner.mishaps")
    yield worker
    worker.close()


@pytest.mark.parametrize(
    ("verb", "status", "error"),
    [
        ("crash", "crash", "crash: SIGSEGV"),
        ("be_killed", "memory", "as the system does without memory"),
        ("be_ended", "lost", "be_ended: somebody ended the process by SIGTERM"),
        ("leave", "crash", "leave: exit status 3"),
        ("use_memory", "memory", "not enough memory"),
        ("be_wrong", "wrong result", "off by 0.5 of the largest value"),
        ("fail", "crash", "ValueError: no such schedule"),
        ("build", "build error", "ValueError: no such schedule"),
        ("unknown", "crash", "KeyError: 'unknown'"),
    ],
)
def test_a_mishap_is_an_answer_and_the_next_call_works(
    worker: Worker, verb: str, status: Status, error: str
) -> None:
    answer = worker.call(verb, limit_s=30)
    assert answer.status == status
    assert error in answer.error
    assert worker.call("pid", limit_s=30).value == worker.pid


def test_what_fails_for_every_candidate_is_raised_and_the_next_call_works(worker: Worker) -> None:
    before = worker.call("pid", limit_s=30).value
    with pytest.raises(ToolchainError, match="a temporary file cannot be written"):
        worker.call("lack_room", limit_s=30)
    assert worker.call("pid", limit_s=30).value == before


def test_a_hang_ends_with_its_time_limit(worker: Worker) -> None:
    before = worker.call("pid", limit_s=30).value
    began = time.monotonic()
    answer = worker.call("hang", limit_s=0.3)
    assert time.monotonic() - began < 5
    assert (answer.status, answer.error) == ("timeout", "hang took longer than 0.3 s")
    assert worker.call("pid", limit_s=30).value != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_a_worker_killed_from_outside_is_started_again(worker: Worker) -> None:
    os.kill(worker.call("pid", limit_s=30).value, signal.SIGKILL)
    time.sleep(0.1)
    assert worker.call("pid", limit_s=30).status == "ok"


def test_a_worker_whose_server_was_killed_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ForkServer(["tests.tuner.mishaps"])
    with monkeypatch.context() as patch:
        patch.setattr(forkserver, "shared_server", lambda: server)
        worker = Worker(CORES, module="tests.tuner.mishaps")
        pid = worker.call("pid", limit_s=30).value
    server._process.kill()
    server._process.wait()
    answer = worker.call("hang", limit_s=1)  # it ends with its server, or there is another that hangs
    assert answer.status in ("memory", "lost", "timeout")
    assert worker.call("pid", limit_s=30).value != pid
    worker.close()


def test_closing_ends_a_call_at_once(worker: Worker) -> None:
    closing = Worker(CORES, module="tests.tuner.mishaps")
    assert closing.call("pid", limit_s=30).status == "ok"
    timer = threading.Timer(0.2, closing.close)
    timer.start()
    began = time.monotonic()
    assert closing.call("hang", limit_s=60).status == "crash"
    assert time.monotonic() - began < 5
    timer.join()
    assert closing.call("pid", limit_s=30).status == "lost"


def test_a_process_that_hangs_up_and_goes_on_is_ended(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = worker.call("pid", limit_s=30).value
    monkeypatch.setattr(process, "_END_S", 0.3)
    answer = worker.call("hang_up", limit_s=30)
    assert (answer.status, answer.error) == (
        "crash",
        "hang_up: the process closed its connection and went on",
    )
    assert not alive(before)
    assert worker.call("pid", limit_s=30).status == "ok"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def calling(worker: Worker) -> Iterator[list[Answer]]:
    """Call a worker in a thread; the answer, once it is left."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(worker.call("pid", limit_s=30)))
    thread.start()
    yield answers
    thread.join(10)
    assert not thread.is_alive()


def number_of(process: Worker | Forked) -> int:
    """Its pid, once there is one."""
    until = time.monotonic() + 120  # for the server to import torch and TVM on a busy machine
    while (pid := process.pid) is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    return pid


def test_closing_a_worker_that_starts_ends_it_at_once() -> None:
    starting = Worker(CORES, module="tests.tuner.never_ready")
    with calling(starting) as answers:
        pid = number_of(starting)
        starting.close()
        assert not alive(pid)
    assert [each.status for each in answers] == ["lost"]


def test_closing_in_the_midst_of_a_start_leaves_no_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    spawn, begun, go_on = process._spawn, threading.Event(), threading.Event()
    started: list[Forked] = []

    def slow(*arguments: Any) -> Any:
        begun.set()
        go_on.wait(10)
        found = spawn(*arguments)
        started.append(found[1])
        return found

    monkeypatch.setattr(process, "_spawn", slow)
    starting = Worker(CORES, module="tests.tuner.never_ready")
    with calling(starting) as answers:
        begun.wait(10)
        closing = threading.Thread(target=starting.close)
        closing.start()
        go_on.set()
        closing.join(10)
        assert not closing.is_alive()
    (ended,) = started
    assert ended.returncode is not None
    assert ended.pid is None or not alive(ended.pid)
    assert [each.status for each in answers] == ["lost"]


def interrupted_while(happens: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Start a worker that is never ready, and interrupt it by `happens`; the processes there were."""
    started, start = list[int](), ForkServer.start

    def starts(*arguments: Any, **options: Any) -> Forked:
        found = start(*arguments, **options)
        started.append(number_of(found))
        happens()
        return found

    monkeypatch.setattr(ForkServer, "start", starts)
    with pytest.raises(KeyboardInterrupt):
        Worker(CORES, module="tests.tuner.never_ready").call("pid", limit_s=30)
    return started


def test_ctrl_c_in_the_midst_of_a_start_leaves_no_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    (pid,) = interrupted_while(lambda: signal.raise_signal(signal.SIGINT), monkeypatch)
    assert not alive(pid)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_while_a_worker_gets_ready_leaves_no_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    def later() -> None:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()

    (pid,) = interrupted_while(later, monkeypatch)
    assert not alive(pid)


def test_a_system_that_starts_no_process_is_an_error_with_advice() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))  # nothing more can be opened
    try:
        with pytest.raises(MeasurementError, match=r"no process .* Too many open files; .*`ulimit -n`"):
            Worker(CORES).call("ping", limit_s=30)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_worker_that_is_never_ready_ends_the_work_after_three_starts() -> None:
    broken = Worker(CORES, module="tests.tuner.no_such_module")
    for _ in range(2):
        answer = broken.call("pid", limit_s=30)
        assert answer.status == "lost"
        assert "did not start: ping: exit status 1" in answer.error
    with pytest.raises(
        MeasurementError, match=r"3 processes in a row .* never ready \(ping: exit status 1\)"
    ):
        broken.call("pid", limit_s=30)
