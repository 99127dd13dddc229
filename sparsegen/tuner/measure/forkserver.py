"""Processes that start at once: copies of one that has imported torch and TVM, which takes it seconds."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

from sparsegen.tuner.measure.preloaded import ANSWER, Start

_MODULES = ("sparsegen.tuner.measure.worker", "sparsegen.tuner.measure.remote_worker")


class Forked:
    """A process that a fork server has started, or is about to; as `subprocess.Popen`, but for any thread."""

    def __init__(self, answers: socket.socket) -> None:
        self.returncode: int | None = None
        self.refused: OSError | None = None
        """Why there is no process, where the system made none."""
        self._answers = answers
        weakref.finalize(self, answers.close)
        self._pid: int | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Its number; None until the server has started it."""
        self.poll()
        return self._pid

    def poll(self) -> int | None:
        """The exit status, or minus the signal's number, once it has ended."""
        with self._lock:
            while self.returncode is None and select.select([self._answers], [], [], 0)[0]:
                self._receive()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """As `poll`, after at most so many seconds. Raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
            select.select([self._answers], [], [], left)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process is there."""
        if self.poll() is None and self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def kill(self) -> None:
        """End the process at once, or have it not started."""
        if self.pid is not None or self.returncode is not None:
            self.send_signal(signal.SIGKILL)
            return
        self._answers.shutdown(socket.SHUT_RD)  # a server that cannot answer ends what it has started
        if self.pid is not None:  # it has answered just now
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _receive(self) -> None:
        """Take in an answer; without one, the server has ended, and the process with it."""
        try:
            answer = self._answers.recv(ANSWER.size)
        except OSError:
            answer = b""
        if not answer:
            self.returncode = -signal.SIGKILL
            return
        pid, value = ANSWER.unpack(answer)
        if pid == 0:
            self.refused = OSError(value, os.strerror(value))
            self.returncode = value
        elif self._pid is None:
            self._pid = pid
        else:
            self.returncode = value


class ForkServer:
    """A process that has imported `modules`, and the means to start copies of it, from any thread.

    Copies have the environment and the current folder of the process that starts them, but OpenMP's and the
    loader's variables as they were when the server began. They end with the server, and the server ends with
    this object, or with this process, however that ends. Raises OSError where there is no process to be had.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as stack, theirs:
            stack.enter_context(control)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sparsegen.tuner.measure.preloaded", str(theirs.fileno()), *modules],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.pop_all()
        self._control = control
        self.close = weakref.finalize(self, _close, self._process, control, os.getpid())
        """End the server and its copies."""

    @property
    def alive(self) -> bool:
        """Whether it is there, as far as is known."""
        return self._process.poll() is None

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        descriptors: Sequence[int] = (),
        standard: Sequence[int] = (),
        environment: dict[str, str] | None = None,
        folder: str | None = None,
    ) -> Forked:
        """Start a copy that calls `main` of a module; see `preloaded.Start` for what it finds in `sys.argv`.

        `standard` are the descriptors of its standard input, output and error: of none of them, or all.
        """
        environment = dict(os.environ) if environment is None else environment
        asked = Start(module, arguments, environment, folder or _current_folder(), len(standard))
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as stack, theirs:
            stack.enter_context(answers)
            with os.fdopen(os.memfd_create("sparsegen-start"), "w+b") as request:
                pickle.dump(asked, request)
                request.seek(0)
                sent = [theirs.fileno(), request.fileno(), *standard, *descriptors]
                try:
                    socket.send_fds(self._control, [b"."], sent)
                except OSError as error:  # without a server the process ends before it begins
                    if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                        raise
            stack.pop_all()
        return Forked(answers)


def _current_folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # it has been removed
        return "/"


def _close(process: subprocess.Popen[bytes], control: socket.socket, owner: int) -> None:
    control.close()
    if os.getpid() == owner:  # and not a forked child of it
        process.kill()
        process.wait()


_lock = threading.Lock()
_shared: weakref.ref[ForkServer] | None = None


def shared_server() -> ForkServer:
    """The server of all workers of this process: the one there is, for as long as one of them holds it."""
    global _shared
    with _lock:
        server = None if _shared is None else _shared()
        if server is None or not server.alive:
            server = ForkServer(_MODULES)
            _shared = weakref.ref(server)
        return server


def _in_child() -> None:
    global _lock, _shared
    _lock, _shared = threading.Lock(), None


os.register_at_fork(after_in_child=_in_child)
