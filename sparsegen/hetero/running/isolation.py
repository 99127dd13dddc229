"""Operators in processes of their own, which may die or hang without harm."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import threading
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

from sparsegen.errors import ExecutionError, first_line
from sparsegen.hetero.running.runners import Runner
from sparsegen.tuner.measure import forkserver
from sparsegen.tuner.measure.forkserver import Forked, ForkServer

_START_S = 120.0  # the first waits for torch and TVM to be imported, on a machine that may be busy
_END_S = 5.0  # for a process that was killed to be gone
_MODULE = "sparsegen.hetero.running.isolated"


class Isolated:
    """A runner in a process of its own: what crashes or hangs there is an ExecutionError here.

    make: gives the runner, there; it travels by cloudpickle, and so do arguments and results, by pickle. The
    process starts by `start` or with the first call, and again after it died.
    A call that takes longer than `limit_s` ends it. One thread calls at a time; any thread may close.
    """

    in_process = False

    def __init__(self, make: Callable[[], Runner], *, limit_s: float = 60.0) -> None:
        self._set(cloudpickle.dumps(make), limit_s)

    def _set(self, make: bytes, limit_s: float) -> None:
        self._make, self.limit_s = make, limit_s
        self._cores: tuple[int, ...] = ()
        self._server: ForkServer | None = None  # held, for it lasts as long as anybody does
        self._process: Forked | None = None
        self._connection: Connection | None = None
        self._closed = False
        self._lock = threading.Lock()  # so that no process starts once `close` has looked for one
        self._calling = threading.Lock()

    def twin(self) -> Isolated:
        """Another process with such a runner."""
        other = Isolated.__new__(Isolated)
        other._set(self._make, self.limit_s)
        return other

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Have the process ready. Raises ExecutionError where it cannot be."""
        with self._calling:
            self._start()

    def __call__(self, *inputs: Any) -> Any:
        """The runner's result. Raises ExecutionError where the process raises, dies or hangs."""
        with self._calling:
            self._start()
            return self._exchange(pickle.dumps(inputs, pickle.HIGHEST_PROTOCOL), self.limit_s)

    def close(self) -> None:
        """End the process; a call that waits for it fails at once, and so do all later ones."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None:
            _kill(process)
        with self._calling:
            self._end()

    def reopen(self, cores: tuple[int, ...] = ()) -> None:
        """Allow it to start, on these cores if there are any, after `close` too."""
        with self._lock:
            self._closed, self._cores = False, cores

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._end()
        try:
            with self._lock:
                if self._closed:
                    raise ExecutionError("the executor is closed")
                ours, theirs = Pipe()
                self._connection = ours
                with theirs:
                    self._server = forkserver.shared_server()
                    cores = [str(core) for core in self._cores]
                    self._process = self._server.start(_MODULE, cores, descriptors=[theirs.fileno()])
        except OSError as error:
            self._end()
            raise ExecutionError(
                f"no process could be started for an operator: {error.strerror}; end other programs, or "
                "raise the limits of open files and of processes"
            ) from error
        self._exchange(self._make, _START_S)

    def _exchange(self, sent: bytes, limit_s: float) -> Any:
        connection, process = self._connection, self._process
        assert connection is not None
        assert process is not None
        try:
            connection.send_bytes(sent)
            if not connection.poll(limit_s):
                self._end()
                raise ExecutionError(f"its process gave no answer in {limit_s:g} s, and was ended")
            received = connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise ExecutionError(f"its process died: {self._end()}") from error
        except BaseException:  # Ctrl-C: the next call would get the answer to this one
            self._end()
            raise
        try:
            fault, value = pickle.loads(received)
        except Exception as raised:  # of any type: the value's class decides
            raise ExecutionError(f"its result cannot be read: {first_line(raised)}") from raised
        if fault is not None:
            raise ExecutionError(f"it raised {fault} in its process")
        return value

    def _end(self) -> str:
        """End the process, if there is one, and say how it ended."""
        told = "it had not started"
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)  # it may be about to tell how it died
            _kill(self._process)
            code, refused = self._process.returncode, self._process.refused
            told = f"exit status {code}" if code is None or code >= 0 else signal.Signals(-code).name
            told = told if refused is None else f"it could not start ({os.strerror(refused.errno or 0)})"
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        return told


def _kill(process: Forked) -> None:
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel, and goes when that lets it
        process.wait(_END_S)
