"""A plugin: processes of the tests that start at once, as copies of one that has imported torch and TVM.

A process of its own costs seconds of imports, whatever it is for. What a test has to say about a command that
runs, is interrupted or killed holds for a copy too: it has arguments, environment, folder, descriptors and
signals of its own, one thread, and its OpenMP teams are still to be made. Tests of the start itself, and of
what is imported, start real processes.

The copies are of the server that the tuner's workers come from, which here lasts as long as the run.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sparsegen.tuner.measure.forkserver import Forked, ForkServer

ROOT = Path(__file__).parents[1]
LONG_S = 600.0  # on a busy machine
_MODULES = (
    "sparsegen.cli.app",
    "sparsegen.frontend.program",
    "sparsegen.runtime.forks",
    "sparsegen.tuner.run",
    "tests.preloaded",
    "tests.runtime.networks",
    "xgboost",
)


@pytest.fixture(scope="session", autouse=True)
def lasting_server() -> Iterator[None]:
    """Have the first to need a server start one for all, with what commands import too."""
    from sparsegen.tuner.measure import forkserver  # here, for what only hands out the tests needs none

    share = forkserver.shared_server
    kept: list[ForkServer] = []

    def keep() -> ForkServer:
        with contextlib.chdir(ROOT):  # where the first to need it may not be, and from where modules come
            server = share()
        if server not in kept:
            kept.append(server)
        return server

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forkserver, "_MODULES", (*forkserver._MODULES, *_MODULES))
        patch.setattr(forkserver, "shared_server", keep)
        yield
    for server in kept:
        server.close()


class Started:
    """A process, and what it writes."""

    def __init__(self, process: Forked, output: IO[bytes], errors: IO[bytes]) -> None:
        self.process = process
        self._output, self._errors = output, errors

    @property
    def pid(self) -> int:
        """Its number, as soon as it has one."""
        until = time.monotonic() + LONG_S
        while (pid := self.process.pid) is None:
            assert time.monotonic() < until
            time.sleep(0.01)
        return pid

    @property
    def output(self) -> str:
        """What it has written to standard output until now."""
        return _text(self._output)

    def result(self, timeout: float = LONG_S) -> subprocess.CompletedProcess[str]:
        """How it ended, and what it wrote; a process that goes on is ended, and raises TimeoutExpired."""
        try:
            status = self.process.wait(timeout)
        finally:
            self.process.kill()
        return subprocess.CompletedProcess((), status, self.output, _text(self._errors))


def _text(file: IO[bytes]) -> str:
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode()  # where the process goes on to write is left alone


def start(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    log: IO[bytes] | None = None,
) -> Started:
    """Start what `python ARGUMENT...` does: "-c", a script, or "-m", a module; and its arguments.

    Where there is a `log`, all that it writes goes there.
    """
    from sparsegen.tuner.measure import forkserver

    output, errors = (log or os.fdopen(os.memfd_create(name), "w+b") for name in ("output", "errors"))
    with Path(os.devnull).open("rb") as nothing:
        process = forkserver.shared_server().start(
            __name__,
            arguments,
            standard=(nothing.fileno(), output.fileno(), errors.fileno()),
            environment=None if environment is None else dict(environment),
            folder=None if folder is None else str(folder),
        )
    return Started(process, output, errors)


def run(
    *arguments: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; as `start`."""
    return start(*arguments, environment=environment, folder=folder).result()


def main() -> None:
    """Be, in the copy, what `python` would be with these arguments."""
    from sparsegen.runtime import forks

    forks._stranded = None  # nothing was parallel before the fork, so that this thread will have its team
    _, kind, what, *arguments = sys.argv
    if kind == "-m":
        sys.argv = [what, *arguments]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    sys.argv = ["-c", *arguments]
    sys.modules["__main__"] = module = ModuleType("__main__")
    exec(compile(what, "<string>", "exec"), module.__dict__)
