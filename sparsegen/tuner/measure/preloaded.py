"""The process that others are copies of: it has imported what they need, and forks whenever it is asked.

Started as `python -m sparsegen.tuner.measure.preloaded FD MODULE...`: it imports the modules, in one thread
and running nothing in parallel, so that its copies may. `forkserver` has the other end of the socket FD.

A request is a message with descriptors: of a socket for the answers, of a file with a pickled `Start`, and
those that are for the copy. The answers are the copy's number, or 0 and why there is none, and its exit
status once it has ended. All copies end with this process, and this one with the process that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ANSWER = struct.Struct("<ii")
"""The number of a process and an errno, then its number and its exit status."""
MOST_DESCRIPTORS = 16
_PR_SET_PDEATHSIG = 1
_OURS = (signal.SIGCHLD, signal.SIGHUP)  # a copy has ended; a thread of the process that started us has


@dataclass(frozen=True)
class Start:
    """What a copy is to be: it calls `main` of a module; its first arguments are its descriptors' numbers.

    The first `standard` descriptors take the place of those of standard input, output and error instead.
    """

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    standard: int = 0


class _Copies:
    """The copies that run, and the sockets that their answers go to."""

    def __init__(self) -> None:
        self._answers: dict[int, socket.socket] = {}

    def fork(self, answers: socket.socket) -> bool:
        """Make one; whether this is it."""
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            with contextlib.suppress(OSError), answers:
                answers.send(ANSWER.pack(0, error.errno or 0))
            return False
        if pid == 0:
            self._forget(answers)
            _end_with(server)
            return True
        self._answers[pid] = answers
        try:
            answers.send(ANSWER.pack(pid, 0))
        except OSError:  # nobody waits for it any more
            os.kill(pid, signal.SIGKILL)
        return False

    def reap(self) -> None:
        """Tell of those that have ended."""
        while self._answers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with contextlib.suppress(OSError), self._answers.pop(pid) as answers:
                answers.send(ANSWER.pack(pid, os.waitstatus_to_exitcode(status)))

    def _forget(self, answers: socket.socket) -> None:
        for each in (answers, *self._answers.values()):
            each.close()


def serve(control: socket.socket) -> tuple[Start, list[int]] | None:
    """Fork until the other end closes, or its process ends. Returns then; and in each copy, what it is."""
    copies, owner = _Copies(), os.getppid()
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for each in _OURS:
        signal.signal(each, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGHUP)
    while os.getppid() == owner:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            copies.reap()
        if control.fileno() not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, 1, MOST_DESCRIPTORS)
        if not message:
            break
        answers, file, *theirs = descriptors
        if copies.fork(socket.socket(fileno=answers)):
            signal.set_wakeup_fd(-1)
            for each in _OURS:
                signal.signal(each, signal.SIG_DFL)
            os.close(woken)
            os.close(wake)
            with os.fdopen(file, "rb") as request:
                return pickle.load(request), theirs
        for descriptor in (file, *theirs):
            os.close(descriptor)
    return None


def _end_with(server: int) -> None:
    """Die with the server, in a session of our own: Ctrl-C is for the process that asked for this one."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)
    os.setsid()


def become(start: Start, descriptors: Sequence[int]) -> None:
    """Be the process that was asked for."""
    for standard, descriptor in enumerate(descriptors[: start.standard]):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(start.environment)
    os.chdir(start.folder)
    sys.argv = [start.module, *map(str, descriptors[start.standard :]), *start.arguments]
    importlib.import_module(start.module).main()


def main() -> None:
    """Serve on the socket whose file descriptor is the first argument; the others are modules to import."""
    gc.disable()
    for module in sys.argv[2:]:
        with contextlib.suppress(Exception):  # a copy that needs it fails as well, and tells
            importlib.import_module(module)
    gc.freeze()  # what is never freed is never copied either
    gc.enable()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        asked = serve(control)
    if asked is not None:
        become(*asked)


if __name__ == "__main__":
    main()
