"""What copies of a fork server do in test_forkserver.py; `python -m tests.tuner.copies own` owns a server."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from pathlib import Path


def describe() -> None:
    print(sys.argv, dict(os.environ), Path.cwd(), sep="\n")


def return_() -> None:
    atexit.register(print, "as Python ends")


def exit_with_3() -> None:
    atexit.register(print, "as Python ends")
    sys.exit(3)


def exit_with_words() -> None:
    sys.exit("words")


def fail() -> None:
    raise ValueError("no good")


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def be_interrupted() -> None:
    signal.raise_signal(signal.SIGINT)


def hang() -> None:
    time.sleep(600)


def signals() -> None:
    print(len(list(Path("/proc/self/task").iterdir())))
    handlers = [signal.getsignal(each) for each in (signal.SIGCHLD, signal.SIGHUP)]
    interrupt = signal.getsignal(signal.SIGINT)
    assert interrupt is signal.default_int_handler
    print(*(signal.Handlers(each).name for each in handlers if each is not None), interrupt.__name__)
    assert threading.current_thread() is threading.main_thread()
    print("leads its session" if os.getsid(0) == os.getpid() else "is in another's session")


def own() -> None:
    """Own a server with a copy, and a child that goes on; print their numbers."""
    from sparsegen.tuner.measure.forkserver import ForkServer

    server = ForkServer([__spec__.name])
    process = server.start(__spec__.name, ["hang"])
    while process.pid is None:
        time.sleep(0.01)
    child = os.fork()
    if child:
        print(server._process.pid, process.pid, child, flush=True)
    hang()


def main() -> None:
    globals()[sys.argv[1]]()


if __name__ == "__main__":
    main()
