"""A worker process as its owner sees it: calls with time limits, and a new process after every mishap."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from sparsegen.database.trial import Status
from sparsegen.errors import ToolchainError

_START_S = 120.0  # a process imports torch and TVM, on a machine that may be busy


@dataclass(frozen=True)
class Answer:
    """What a call came to: `value` where `status` is "ok", else `error`."""

    status: Status
    value: Any = None
    error: str = ""


class Worker:
    """A process of `module`, started when it is first called, and again after it died.

    It keeps to `cores`. Any mishap of a call is its answer: a crash, no answer within the time limit,
    no memory left.
    """

    def __init__(self, cores: Sequence[int], *, module: str = "sparsegen.tuner.measure.worker") -> None:
        self._cores = [str(core) for core in cores]
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        return None if self._process is None else self._process.pid

    def call(self, verb: str, *arguments: Any, limit_s: float) -> Answer:
        """The answer of the process, which has `limit_s` seconds from when it is ready.

        Raises SparsegenError where something that every call needs fails there: gcc, room for files.
        """
        if self._closed:
            return Answer("lost", error="the tuner is closing")
        if self._process is None or self._process.poll() is not None:
            self._start()
            ready = self._exchange("ping", (), _START_S)
            if ready.status != "ok":
                return ready
        return self._exchange(verb, arguments, limit_s)

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
        code = process.wait()
        self.kill()
        if code == -signal.SIGKILL and not self._closed:
            return Answer(
                "memory", error=f"{verb}: the process was killed, as the system does without memory"
            )
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return Answer("crash", error=f"{verb}: {name}")

    def _start(self) -> None:
        self.kill()
        ours, theirs = Pipe()
        descriptor = theirs.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, str(descriptor), *self._cores],
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the tuner, which ends its workers
        )
        theirs.close()
        self._connection = ours

    def kill(self) -> None:
        """End the process, if there is one; the next call starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """End the process for good."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()


_STATUS: dict[str, Status] = {
    "error": "crash",
    "memory": "memory",
    "wrong result": "wrong result",
    "lost": "lost",
}
