"""A worker process as its owner sees it: calls with time limits, and a new process after every mishap."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from sparsegen.database.trial import Status
from sparsegen.errors import MeasurementError, SparsegenError, ToolchainError
from sparsegen.tuner.measure import forkserver
from sparsegen.tuner.measure.forkserver import Forked, ForkServer

_START_S = 120.0  # the first waits for torch and TVM to be imported, on a machine that may be busy
_STARTS = 3  # that fail one after the other, after which there is no hope
_END_S = 5.0  # for a process to be gone that was killed, or that has closed its connection
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
_FROM_OUTSIDE = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


@dataclass(frozen=True)
class Answer:
    """What a call came to: `value` where `status` is "ok", else `error`."""

    status: Status
    value: Any = None
    error: str = ""


class Worker:
    """A process that runs `main` of a module, started when it is first called, and again after it died.

    It keeps to `cores`. Any mishap of a call is its answer: a crash, no answer within the time limit,
    no memory left. One thread calls at a time; any thread may close.
    """

    def __init__(self, cores: Sequence[int], *, module: str = "sparsegen.tuner.measure.worker") -> None:
        self._cores = [str(core) for core in cores]
        self._module = module
        self._server: ForkServer | None = None  # held, for it lasts as long as anybody does
        self._process: Forked | None = None
        self._connection: Connection | None = None
        self._failed_starts = 0  # one after the other
        self._closed = False
        self._lock = threading.Lock()  # so that no process starts once `close` has looked for one

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        return None if self._process is None else self._process.pid

    def call(self, verb: str, *arguments: Any, limit_s: float) -> Answer:
        """The answer of the process, which has `limit_s` seconds from when it is ready.

        Raises MeasurementError where the system starts no process, and where three in a row end before
        they are ready, and ToolchainError where something that every call needs fails there: gcc, room for
        files.
        """
        try:
            if self._process is None or self._process.poll() is not None:
                started = self._start()
                if started.status != "ok":
                    return started
            return self._exchange(verb, arguments, limit_s)
        except SparsegenError:
            raise
        except BaseException:  # Ctrl-C above all: the next call would get the answer to this one
            self.kill()
            raise

    def _exchange(self, verb: str, arguments: tuple[Any, ...], limit_s: float) -> Answer:
        connection = self._connection
        assert connection is not None
        try:
            connection.send((verb, arguments))
            if not connection.poll(limit_s):
                self.kill()
                return Answer("timeout", error=f"{verb} took longer than {limit_s:g} s")
            status, value = connection.recv()
        except (EOFError, OSError):
            return self._died(verb)
        if status == "ok":
            return Answer("ok", value)
        if status == "toolchain":
            raise ToolchainError(value)
        if status == "memory":
            self.kill()  # what it holds may be why
        return Answer(
            "build error" if status == "error" and verb == "build" else _STATUS[status], error=value
        )

    def _died(self, verb: str) -> Answer:
        process = self._process
        assert process is not None
        try:
            code = process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return Answer("crash", error=f"{verb}: the process closed its connection and went on")
        self.kill()
        if process.refused is not None:
            raise _no_process(process.refused)
        if code == -signal.SIGKILL and not self._closed:
            return Answer(
                "memory", error=f"{verb}: the process was killed, as the system does without memory"
            )
        if -code in _FROM_OUTSIDE:
            return Answer("lost", error=f"{verb}: somebody ended the process by {signal.Signals(-code).name}")
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return Answer("crash", error=f"{verb}: {name}")

    def _start(self) -> Answer:
        """Start a process and wait until it is ready."""
        self.kill()
        with _uninterrupted(), self._lock:
            if self._closed:
                return Answer("lost", error="the tuner is closing")
            self._server, self._process, self._connection = _spawn(self._module, self._cores)
        ready = self._exchange("ping", (), _START_S)
        if ready.status == "ok":
            self._failed_starts = 0
            return ready
        self._failed_starts += 1
        if self._failed_starts >= _STARTS and not self._closed:
            raise MeasurementError(
                f"{_STARTS} processes in a row that should build or time candidates were never ready "
                f"({ready.error}): check the installation and the memory that is free, and run the same "
                "command again"
            )
        return Answer("lost", error=f"the process did not start: {ready.error}")

    def kill(self) -> None:
        """End the process, if there is one; the next call starts another. For the thread that calls."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """End the process for good, also while it starts; a call that waits for it returns at once."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None:
            _end(process)
        self._server = None


def _spawn(module: str, cores: Sequence[str]) -> tuple[ForkServer, Forked, Connection]:
    """A new process with its server, and our end of a connection to it. Raises MeasurementError for none."""
    try:
        server = forkserver.shared_server()
        ours, theirs = Pipe()
        with contextlib.ExitStack() as stack, theirs:
            stack.enter_context(ours)
            process = server.start(module, cores, descriptors=[theirs.fileno()])
            stack.pop_all()
            return server, process, ours
    except OSError as error:
        raise _no_process(error) from error


def _no_process(error: OSError) -> MeasurementError:
    return MeasurementError(
        f"no process could be started to build or time candidates: {error.strerror}; end other programs, "
        "or raise the limit (`ulimit -n` of open files, `ulimit -u` of processes), and run the same "
        "command again"
    )


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back for a moment: between a process and the note of it, it would leave an orphan.

    Python hands signals to the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {each: signal.signal(each, lambda number, _: held.append(number)) for each in _INTERRUPTS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler or signal.SIG_DFL)
        for number in held:
            signal.raise_signal(number)


def _end(process: Forked) -> None:
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel, and goes when that lets it
        process.wait(_END_S)


_STATUS: dict[str, Status] = {
    "error": "crash",
    "memory": "memory",
    "wrong result": "wrong result",
    "lost": "lost",
}
