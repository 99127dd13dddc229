"""What runs in an operator's own process: it makes the runner, and answers its calls until nobody asks."""

from __future__ import annotations

import os
import pickle
import sys
from multiprocessing.connection import Connection
from typing import Any

from sparsegen.errors import first_line
from sparsegen.runtime import forks


def main() -> None:
    """Serve the connection that `sys.argv` names, on the cores that follow it."""
    _, descriptor, *cores = sys.argv
    if cores:
        os.sched_setaffinity(0, [int(core) for core in cores])
    forks._stranded = None  # nothing was parallel before the fork: this thread will have its own team
    with Connection(int(descriptor)) as connection:
        try:
            runner = _answer(connection, lambda make: pickle.loads(make)())
            while runner is not None:
                _answer(connection, lambda inputs: runner(*pickle.loads(inputs)), sends=True)
        except (EOFError, OSError):
            return


def _answer(connection: Connection, work: Any, *, sends: bool = False) -> Any:
    """Do what is asked for, and tell the error, or the result where it `sends` that; None after an error."""
    asked = connection.recv_bytes()
    try:
        value = work(asked)
        told = pickle.dumps((None, value if sends else None), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # of any type, for the other side to raise
        connection.send_bytes(pickle.dumps((f"{type(error).__name__}: {first_line(error)}", None)))
        return None
    connection.send_bytes(told)
    return value
