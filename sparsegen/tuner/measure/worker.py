"""The process that builds candidates, or runs them: killed and started anew when one goes wrong.

A fork server calls `main` with the arguments FD CORE...: on those cores it answers requests (verb, arguments)
on that connection, one at a time, with (status, result), until the other end closes.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from sparsegen.errors import ToolchainError
from sparsegen.tuner.measure.candidate import LostError, WrongResultError, build, prepare_case, run

_PR_SET_PDEATHSIG = 1
_MEMORY_SHARE = 0.8  # of the machine's, that a worker may have mapped


def ping() -> None:
    """Answer, which tells that the process is ready."""


_VERBS: dict[str, Callable[..., Any]] = {
    "ping": ping,
    "prepare": prepare_case,
    "build": build,
    "run": run,
}


def serve(connection: Connection, verbs: dict[str, Callable[..., Any]]) -> None:
    """Answer requests until the other end closes."""
    while True:
        try:
            verb, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = ("ok", verbs[verb](*arguments))
        except WrongResultError as error:
            answer = ("wrong result", str(error))
        except LostError as error:
            answer = ("lost", str(error))
        except ToolchainError as error:
            answer = ("toolchain", str(error))
        except MemoryError as error:
            answer = ("memory", str(error) or "not enough memory")
        except Exception as error:
            answer = ("error", f"{type(error).__name__}: {error}")
        connection.send(answer)


def confine() -> None:
    """Die with the process that started this one, bear its Ctrl-C, and map no more memory than there is."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    most = int(_MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    """Serve on the connection whose file descriptor is the first argument."""
    os.sched_setaffinity(0, [int(core) for core in sys.argv[2:]])
    confine()
    serve(Connection(int(sys.argv[1])), _VERBS)
