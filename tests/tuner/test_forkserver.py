"""Processes that are copies of one: they start at once, as others do otherwise, and never outlive it."""

from __future__ import annotations

import errno
import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sparsegen.tuner.measure import forkserver
from sparsegen.tuner.measure.forkserver import Forked, ForkServer, shared_server
from tests.tuner import copies

COPIES = copies.__name__
LONG = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """A server that has imported nothing but what its copies need."""
    server = ForkServer([COPIES])
    yield server
    server.close()


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def number_of(process: Forked) -> int:
    wait_for(lambda: process.pid is not None)
    assert process.pid is not None
    return process.pid


def copies_of(server: ForkServer) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(server._process.pid).children()
    return found


def told(server: ForkServer, what: str, *arguments: str, **options: object) -> tuple[int, str]:
    """How a copy ends that does what one of tests/tuner/copies.py does, and what it prints."""
    with Path(os.devnull).open("rb") as nothing, os.fdopen(os.memfd_create("output"), "w+b") as output:
        standard = (nothing.fileno(), output.fileno(), output.fileno())
        process = server.start(COPIES, [what, *arguments], standard=standard, **options)  # type: ignore[arg-type]
        status = process.wait(LONG)
        output.seek(0)
        return status, output.read().decode()


def test_a_copy_has_what_a_process_of_its_own_would_have(server: ForkServer, tmp_path: Path) -> None:
    environment = {"ONLY": "this"}
    status, output = told(server, "describe", "a b", environment=environment, folder=str(tmp_path))
    assert status == 0
    assert output.splitlines() == [f"[{COPIES!r}, 'describe', 'a b']", "{'ONLY': 'this'}", str(tmp_path)]


def test_environment_and_folder_are_those_of_now(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADDED_LATER", "yes")
    status, output = told(server, "describe")
    assert status == 0
    assert "'ADDED_LATER': 'yes'" in output
    assert output.splitlines()[-1] == str(tmp_path)
    tmp_path.rmdir()
    assert told(server, "describe")[0] == 0


@pytest.mark.parametrize(
    ("what", "status", "output"),
    [
        ("return_", 0, "as Python ends\n"),
        ("exit_with_3", 3, "as Python ends\n"),
        ("exit_with_words", 1, "words\n"),
        ("fail", 1, "ValueError: no good\n"),
        ("crash", -signal.SIGSEGV, ""),
        ("be_interrupted", -signal.SIGINT, "KeyboardInterrupt\n"),
    ],
)
def test_it_ends_as_a_process_of_python_does(server: ForkServer, what: str, status: int, output: str) -> None:
    found, printed = told(server, what)
    assert found == status
    assert printed.endswith(output)


def test_a_module_that_cannot_be_imported(server: ForkServer) -> None:
    assert server.start("tests.tuner.no_such_module", []).wait(LONG) == 1
    with_it = ForkServer(["tests.tuner.no_such_module", COPIES])
    assert told(with_it, "return_")[0] == 0
    with_it.close()


def test_a_copy_starts_with_one_thread_and_the_signals_of_a_process(server: ForkServer) -> None:
    status, output = told(server, "signals")
    assert status == 0
    assert output.splitlines() == ["1", "SIG_DFL SIG_DFL default_int_handler", "leads its session"]


def test_what_a_copy_prints_and_does_ends_with_a_kill(server: ForkServer) -> None:
    process = server.start(COPIES, ["hang"])
    pid = number_of(process)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG) == -signal.SIGTERM
    assert not psutil.pid_exists(pid)
    process.kill()  # it is gone already
    assert process.poll() == -signal.SIGTERM


def test_many_threads_start_and_end_copies(server: ForkServer) -> None:
    statuses: list[int] = []

    def start() -> None:
        for _ in range(5):
            process = server.start(COPIES, ["hang"])
            process.kill()
            statuses.append(process.wait(LONG))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert statuses == [-signal.SIGKILL] * 20
    wait_for(lambda: not copies_of(server))
    assert server.alive


def test_what_is_killed_before_the_server_starts_it_is_gone_too(server: ForkServer) -> None:
    os.kill(server._process.pid, signal.SIGSTOP)
    try:
        process = server.start(COPIES, ["hang"])
        assert process.pid is None
        process.kill()
        assert process.wait(LONG) == -signal.SIGKILL
    finally:
        os.kill(server._process.pid, signal.SIGCONT)
    assert told(server, "return_")[0] == 0  # which the server came to after it
    wait_for(lambda: not copies_of(server))


def test_a_killed_server_takes_its_copies_along() -> None:
    server = ForkServer([COPIES])
    process = server.start(COPIES, ["hang"])
    copy = psutil.Process(number_of(process))
    os.kill(server._process.pid, signal.SIGKILL)
    assert process.wait(LONG) == -signal.SIGKILL
    wait_for(lambda: not copy.is_running())
    wait_for(lambda: not server.alive)
    assert server.start(COPIES, ["hang"]).wait(LONG) == -signal.SIGKILL
    server.close()


def test_a_server_ends_with_its_owner_also_if_a_child_of_that_goes_on(tmp_path: Path) -> None:
    """The child has inherited the owner's end of the socket."""
    owner = psutil.Popen([sys.executable, "-m", COPIES, "own"], stdout=subprocess.PIPE, text=True)
    numbers = [int(number) for number in owner.stdout.readline().split()]
    server, copy, child = map(psutil.Process, numbers)
    owner.kill()
    owner.wait()
    gone, alive = psutil.wait_procs([server, copy], timeout=LONG)
    assert (len(gone), alive) == (2, [])
    assert child.is_running()
    child.kill()


def test_the_end_of_the_thread_that_started_it_is_not_the_end_of_a_server() -> None:
    made: list[ForkServer] = []
    thread = threading.Thread(target=lambda: made.append(ForkServer([COPIES])))
    thread.start()
    thread.join()
    (server,) = made
    assert [told(server, "return_")[0] for _ in range(2)] == [0, 0]
    server.close()


def test_without_room_for_a_process() -> None:
    without = ForkServer([f"{COPIES}_without_forks"])
    refused = without.start(COPIES, ["return_"])
    assert refused.wait(LONG) == errno.EAGAIN
    assert refused.pid is None
    assert refused.refused is not None
    assert refused.refused.errno == errno.EAGAIN
    without.close()


def test_descriptors_are_not_left_open(server: ForkServer) -> None:
    told(server, "return_")
    gc.collect()
    ours, theirs = (psutil.Process(pid).num_fds() for pid in (os.getpid(), server._process.pid))
    for _ in range(5):
        told(server, "return_")
    gc.collect()
    assert psutil.Process().num_fds() == ours
    wait_for(lambda: psutil.Process(server._process.pid).num_fds() == theirs)


def test_all_share_a_server_while_anybody_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "_MODULES", ())
    monkeypatch.setattr(forkserver, "_shared", None)
    one, other = shared_server(), shared_server()
    assert one is other
    process = one._process
    process.kill()
    process.wait()
    fresh = shared_server()
    assert fresh is not one
    process = fresh._process
    del one, other, fresh
    gc.collect()
    assert process.poll() is not None


def test_too_many_open_files(server: ForkServer) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            server.start(COPIES, ["return_"])
        with pytest.raises(OSError, match="Too many open files"):
            ForkServer([])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
