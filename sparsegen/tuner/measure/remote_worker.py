"""The process that speaks with one RPC server at a time: killed when a call takes too long.

Started as `sparsegen.tuner.measure.worker` is; candidates are built elsewhere. A server's process
serves one session, and ends with it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tvm
from tvm import rpc
from tvm.error import RPCError

from sparsegen.cpuinfo import parse_cpuinfo
from sparsegen.errors import SparsegenError
from sparsegen.target import Host
from sparsegen.tuner.measure.candidate import (
    FIRST,
    QUICK,
    QUICK_MS,
    BuiltCandidate,
    LostError,
    WrongResultError,
    case_of,
    read_job,
)
from sparsegen.tuner.measure.tracker import Machine, Tracker
from sparsegen.tuner.measure.worker import confine, ping, serve

_SESSION_S = 60.0  # that a session lasts at least: then somebody else may have the server
_SPARE_S = 5.0  # for the server to end a session after we have given it up
_SETTLE_S = 1.0  # in which the tracker learns that a server is gone
_BIG_CORES = 1  # config_threadpool: TVM's choice of cores, the fastest first


class Session:
    """A server's process, ours for `lasting_s` seconds at most; `helper` is server.c's library."""

    def __init__(self, tracker: Tracker, helper: Path, *, lasting_s: float, wait_s: float) -> None:
        host, port, password = tracker.request(wait_s)
        self.ends = time.monotonic() + lasting_s
        self._remote = rpc.connect(host, port, password, session_timeout=lasting_s + _SPARE_S)
        self._helper = self.load(helper)
        self.machine = self._describe(f"{host}:{port}")
        self._buffers: tuple[Path, tuple[Any, ...]] | None = None

    def _describe(self, server: str) -> Machine:
        model, flags = parse_cpuinfo(str(self._helper.get_function("cpuinfo")()))
        host = Host(
            cpu=str(self._remote.get_function("target.llvm_get_system_cpu")()),
            model=model,
            flags=flags,
            cores=int(self._helper.get_function("cores")()),
            l1_bytes=int(self._helper.get_function("cache_bytes")(1)),
            l2_bytes=int(self._helper.get_function("cache_bytes")(2)),
            l3_bytes=int(self._helper.get_function("cache_bytes")(3)),
        )
        return Machine(server, host)

    def use_threads(self, threads: int) -> None:
        """Give TVM's thread pool there so many threads; once, before anything runs."""
        self._helper.get_function("allow_threads")(threads)
        self._remote.get_function("runtime.config_threadpool")(_BIG_CORES, threads)
        found = int(self._remote.get_function("runtime.NumThreads")())
        if found != threads:
            raise RuntimeError(f"the server takes {found} threads instead of {threads}")

    def load(self, library: Path) -> Any:
        """The module of a library, uploaded."""
        self._remote.upload(str(library))
        module = self._remote.load_module(library.name)
        self._remote.remove(library.name)
        return module

    def upload(self, array: np.ndarray[Any, Any]) -> Any:
        """A copy of an array in the server's memory."""
        return tvm.runtime.tensor(array, device=self._remote.cpu(0))

    def buffers(self, path: Path) -> tuple[Any, ...]:
        """Of a job, there: its input, a buffer of NaN, and the buffers that a kernel reads and writes."""
        if self._buffers is None or self._buffers[0] != path:
            case = case_of(path)
            given = case.source.numpy(), np.full((case.out.groups, case.out.size), np.nan, np.float32)
            kept = [self.upload(array) for array in given]
            self._buffers = path, (*kept, *(self.upload(array) for array in given))
        return self._buffers[1]

    def evaluator(self, module: Any, name: str, count: int, flushed_bytes: int) -> Any:
        """TVM's: times a call `count` times, after one to warm up; caches are emptied before each."""
        return module.time_evaluator(
            name, self._remote.cpu(0), number=1, repeat=count, cache_flush_bytes=flushed_bytes
        )

    def close(self) -> None:
        """Let the server go on to somebody else."""
        self._buffers = None
        self._remote.get_function("CloseRPCConnection")()


class Client:
    """The verbs of the process, and the session that they share."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._tracker: Tracker | None = None
        self._threads = 0

    def describe(self, tracker: Tracker, helper: Path, count: int, wait_s: float) -> list[Machine]:
        """The machines of the servers that are free, `count` at most: the first waited for `wait_s`."""
        held: list[Session] = []
        while len(held) < count:
            try:
                session = Session(tracker, helper, lasting_s=_SESSION_S, wait_s=_SETTLE_S if held else wait_s)
            except TimeoutError:
                break
            held.append(session)
        for session in held:
            session.close()
        return [session.machine for session in held]

    def open(self, tracker: Tracker, helper: Path, threads: int, lasting_s: float, wait_s: float) -> Machine:
        """Have a session that lasts so long at least, and say whose it is; the one there is, if it does."""
        if self._session is not None and time.monotonic() + lasting_s > self._session.ends:
            self.leave()
        if self._session is None:
            lasting_s = max(lasting_s, _SESSION_S)
            session = Session(tracker, helper, lasting_s=lasting_s, wait_s=wait_s)
            session.use_threads(threads)
            self._session, self._tracker, self._threads = session, tracker, threads
        return self._session.machine

    def leave(self) -> None:
        """End the session, if there is one."""
        if self._session is not None:
            with contextlib.suppress(RuntimeError):  # where the server has gone, or has ended the session
                self._session.close()
            self._session = None

    def run(
        self, path: Path, candidates: Sequence[BuiltCandidate], samples: int, hopeless_ms: float
    ) -> list[tuple[float, ...]]:
        """As `candidate.run`, on the server of the open session.

        Raises WrongResultError as it does; LostError where the server goes away.
        """
        session = self._session
        assert session is not None
        try:
            calls = [self._check(session, path, candidate) for candidate in candidates]
            return _time(calls, samples, hopeless_ms)
        except RPCError:  # raised over there
            self.leave()
            raise
        except RuntimeError as error:
            self._session = None
            raise self._ending(session.machine.server) from error

    def _check(self, session: Session, path: Path, candidate: BuiltCandidate) -> Callable[[int], list[float]]:
        """Run a candidate once and compare its output; a call that times it, in milliseconds."""
        case = case_of(path)
        module = session.load(candidate.library)
        source, blank, read, written = session.buffers(path)
        source.copyto(read)
        blank.copyto(written)
        with np.load(candidate.arrays) as file:
            arguments = read, *(session.upload(file[name]) for name in file.files), written
        module.get_function(candidate.name)(*arguments)
        result = torch.from_numpy(written.numpy())
        if not case.accepts(result):
            raise WrongResultError(f"off by {case.error(result):.2g} of the largest value")
        flushed = 2 * self._threads * read_job(path).context.target.l2_bytes

        def timed(count: int) -> list[float]:
            evaluator = session.evaluator(module, candidate.name, count, flushed)
            return [seconds * 1e3 for seconds in evaluator(*arguments).results]

        return timed

    def _ending(self, server: str) -> Exception:
        """What to raise for a session that broke: a server that is still there survived a crash."""
        assert self._tracker is not None
        time.sleep(_SETTLE_S)
        try:
            survived = server in self._tracker.servers()
        except SparsegenError:
            survived = False
        if survived:
            return RuntimeError(f"the process on {server} crashed")
        return LostError(f"the server {server} went away")


def _time(
    calls: Sequence[Callable[[int], list[float]]], samples: int, hopeless_ms: float
) -> list[tuple[float, ...]]:
    """Timings of every candidate, in turn where there are several."""
    first = [timed(FIRST if len(calls) == 1 else 1) for timed in calls]
    fastest = min(map(min, first))
    left = samples * (QUICK if fastest < QUICK_MS else 1) - len(first[0])
    if len(calls) == 1:
        return [tuple(first[0] + (calls[0](left) if left > 0 and fastest <= hopeless_ms else []))]
    rng = np.random.default_rng(0)
    for _ in range(left):
        for i in rng.permutation(len(calls)).tolist():
            first[i] += calls[i](1)
    return [tuple(times) for times in first]


def main() -> None:
    """Serve on the connection whose file descriptor is the first argument."""
    os.sched_setaffinity(0, [int(core) for core in sys.argv[2:]])
    confine()
    client = Client()
    verbs: dict[str, Callable[..., Any]] = {
        "ping": ping,
        "describe": client.describe,
        "open": client.open,
        "leave": client.leave,
        "run": client.run,
    }
    serve(Connection(int(sys.argv[1])), verbs)
