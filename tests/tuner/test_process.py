"""Workers that crash, hang, run out of memory or are wrong: each is an answer, and the next call works."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from sparsegen.database.trial import Status
from sparsegen.errors import ToolchainError
from sparsegen.tuner.measure.process import Worker


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(sorted(os.sched_getaffinity(0)), module="tests.tuner.mishaps")
    yield worker
    worker.close()


@pytest.mark.parametrize(
    ("verb", "status", "error"),
    [
        ("crash", "crash", "crash: SIGSEGV"),
        ("be_killed", "memory", "as the system does without memory"),
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


def test_closing_ends_a_call_at_once(worker: Worker) -> None:
    closing = Worker(sorted(os.sched_getaffinity(0)), module="tests.tuner.mishaps")
    assert closing.call("pid", limit_s=30).status == "ok"
    timer = threading.Timer(0.2, closing.close)
    timer.start()
    began = time.monotonic()
    assert closing.call("hang", limit_s=60).status == "crash"
    assert time.monotonic() - began < 5
    timer.join()
    assert closing.call("pid", limit_s=30).status == "lost"
