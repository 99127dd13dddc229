"""A worker process that goes wrong when it is asked to: see test_process.py."""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing.connection import Connection

from sparsegen.errors import ToolchainError
from sparsegen.tuner.measure.candidate import WrongResultError
from sparsegen.tuner.measure.worker import confine, serve


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def be_killed() -> None:
    """As the system does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def be_ended() -> None:
    """As somebody does who sees a process that they do not know."""
    os.kill(os.getpid(), signal.SIGTERM)


def hang() -> None:
    time.sleep(60)


def hang_up() -> None:
    """Close the connection, and go on."""
    os.close(int(sys.argv[1]))
    time.sleep(60)


def use_memory() -> None:
    raise MemoryError


def be_wrong() -> None:
    raise WrongResultError("off by 0.5 of the largest value")


def fail() -> None:
    raise ValueError("no such schedule")


def lack_room() -> None:
    raise ToolchainError("a temporary file cannot be written")


def leave() -> None:
    os._exit(3)


def pid() -> int:
    return os.getpid()


_ALL = (crash, be_killed, be_ended, hang, hang_up, use_memory, be_wrong, fail, lack_room, leave, pid)
VERBS = {each.__name__: each for each in _ALL}


def main() -> None:
    confine()
    serve(Connection(int(sys.argv[1])), {**VERBS, "ping": lambda: None, "build": fail})
