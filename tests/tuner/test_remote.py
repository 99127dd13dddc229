"""Measuring through TVM's RPC: a tracker and its servers in processes of their own, on loopback."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tvm_ffi import libinfo

from sparsegen.database.workload import setting_here
from sparsegen.errors import SparsegenError
from sparsegen.graph import Conv2d
from sparsegen.kernels.space import KernelSchedule
from sparsegen.target import Host, native_target, parse_target, read_host
from sparsegen.tuner.jobs import Task, find_tasks
from sparsegen.tuner.measure import lanes, remote
from sparsegen.tuner.measure.candidate import BuiltCandidate
from sparsegen.tuner.measure.measurement import Limits, Measurement
from sparsegen.tuner.measure.process import Answer
from sparsegen.tuner.measure.remote import RemoteMeasurer
from sparsegen.tuner.measure.remote_worker import Session
from sparsegen.tuner.measure.tracker import Machine, Tracker
from tests import preloaded
from tests.kernels.contract import conv_graph, weights
from tests.preloaded import Started

LIMITS = Limits(samples=1000)  # a second or so for a kernel of some microseconds
SECONDS = 120  # that a test, and the start of a process, may take

CRASH = "*(volatile int *)0 = 1;"
HANG = "for (;;) ;"


@dataclass(frozen=True)
class Server:
    """A process of `tvm.exec`, with those that it started, and the file that it writes its log to."""

    started: Started
    log: Path

    @property
    def runs(self) -> bool:
        """Whether nobody has ended it."""
        return self.started.process.poll() is None

    def kill(self) -> None:
        """As a machine that loses its power."""
        os.killpg(self.started.pid, signal.SIGKILL)
        self.started.process.wait()

    def loaded(self) -> int:
        """Candidates that it has loaded."""
        return self.log.read_text().count("/candidate_")


def start(module: str, log: Path, *arguments: str) -> Server:
    command = ("-m", f"tvm.exec.{module}", "--host", "127.0.0.1", *arguments)
    with log.open("wb", buffering=0) as file:
        return Server(preloaded.start(*command, log=file), log)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def next_to_load(pair: tuple[Server, Server]) -> Server:
    """Wait until a server loads another candidate."""
    before = [server.loaded() for server in pair]
    loading: list[Server] = []
    while not loading:
        time.sleep(0.02)
        loading = [server for server, old in zip(pair, before, strict=True) if server.loaded() > old]
    return loading[0]


def servers(address: str, key: str) -> int:
    try:
        return len(Tracker.parse(address, key).servers())
    except SparsegenError:
        return 0


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """End a test that hangs."""

    def end(*_: object) -> None:
        raise TimeoutError(f"the test took longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a tracker."""
    port = free_port()
    log = tmp_path_factory.mktemp("tracker") / "log"
    process = start("rpc_tracker", log, "--port", str(port), "--port-end", str(port + 1))
    wait_for(lambda: "bind to" in log.read_text())  # a server that comes first waits for 5 s
    yield f"127.0.0.1:{port}"
    process.kill()


class Serve:
    """Starts servers of keys."""

    def __init__(self, tracker: str, folder: Path) -> None:
        self.running: list[Server] = []
        self._tracker, self._folder = tracker, folder

    def __call__(self, key: str) -> Server:
        port, log = free_port(), self._folder / f"server_{len(self.running)}"
        ports = "--port", str(port), "--port-end", str(port + 1)
        self.running.append(start("rpc_server", log, *ports, "--tracker", self._tracker, "--key", key))
        return self.running[-1]


@pytest.fixture(scope="module")
def serve(tracker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts servers, which end with the tests."""
    serve = Serve(tracker, tmp_path_factory.mktemp("servers"))
    yield serve
    for server in serve.running:
        if server.runs:
            server.kill()


@pytest.fixture
def pair(tracker: str, serve: Serve) -> tuple[Server, Server]:
    """The two servers of the key `pair`, whatever became of those that other tests had."""
    living = [server for server in serve.running if server.runs]
    first, second = (*living, *(serve("pair") for _ in range(2 - len(living))))
    wait_for(lambda: servers(tracker, "pair") == 2)
    return first, second


@pytest.fixture
def measurer(connected: list[RemoteMeasurer], tracker: str, pair: tuple[Server, Server]) -> RemoteMeasurer:
    """A measurer on the pair, the same for all tests."""
    if not connected:
        connected.append(RemoteMeasurer.connect(tracker, "pair", threads=1, limits=LIMITS))
    return connected[0]


@pytest.fixture(scope="module")
def connected() -> Iterator[list[RemoteMeasurer]]:
    """The measurer that there is, if there is one."""
    found: list[RemoteMeasurer] = []
    yield found
    for each in found:
        each.close()


@pytest.fixture(scope="module")
def task() -> Task:
    """A small convolution."""
    graph = conv_graph(weights((8, 8, 3, 3), "half"), (1, 8, 6, 16), padding=(1, 1, 1, 1))
    (task,) = find_tasks(graph, parse_target(), threads=1, dense=False)
    return task


def sampled(task: Task, count: int) -> list[KernelSchedule]:
    return random.Random(0).sample(list(task.space.schedules()), count)


def measured(measurer: RemoteMeasurer, task: Task, count: int) -> list[Measurement]:
    end = time.monotonic() + SECONDS
    return list(measurer.measure(task.job, sampled(task, count), best_ms=float("inf"), deadline=end))


def built_of(body: str, folder: Path) -> Callable[..., Future[tuple[Answer, float]]]:
    """Stands in for `Builders.build`: a library whose function does what `body` says."""
    library = folder / "bad.so"
    source = (
        "#include <tvm/ffi/c_api.h>\n"
        "int __tvm_ffi_bad(void *s, const TVMFFIAny *a, int32_t n, TVMFFIAny *r) { " + body + " return 0; }"
    )
    command = [
        "gcc",
        "-shared",
        "-fPIC",
        "-x",
        "c",
        f"-I{libinfo.find_include_path()}",
        "-o",
        str(library),
        "-",
    ]
    subprocess.run(command, input=source.encode(), check=True)
    np.savez(folder / "bad.npz", np.zeros(1, np.float32))

    def build(*_: Any, **__: Any) -> Future[tuple[Answer, float]]:
        future: Future[tuple[Answer, float]] = Future()
        future.set_result((Answer("ok", BuiltCandidate(library, "bad", folder / "bad.npz")), 0.0))
        return future

    return build


def test_two_servers_share_the_schedules(
    measurer: RemoteMeasurer, pair: tuple[Server, Server], task: Task
) -> None:
    results = measured(measurer, task, 6)
    assert [each.status for each in results] == ["ok"] * 6
    assert {each.schedule for each in results} == set(sampled(task, 6))
    assert all(len(each.times_ms) >= LIMITS.samples for each in results)
    wait_for(lambda: bool(measured(measurer, task, 2)) and all(server.loaded() for server in pair))
    here = native_target(read_host())  # nothing disguises a server
    assert measurer.target == here
    assert measurer.setting == setting_here(here, 1)


def test_a_race_is_run_on_one_server(
    measurer: RemoteMeasurer, pair: tuple[Server, Server], task: Task
) -> None:
    before = [server.loaded() for server in pair]
    results = measurer.race(task.job, sampled(task, 3))
    assert [each.schedule for each in results] == sampled(task, 3)
    assert [(each.status, len(each.times_ms)) for each in results] == [("ok", 2 * LIMITS.race_samples)] * 3
    assert sorted(server.loaded() - old for server, old in zip(pair, before, strict=True)) == [0, 3]


def test_a_wrong_result_is_found(measurer: RemoteMeasurer, task: Task) -> None:
    core = task.job.layer.core
    assert isinstance(core, Conv2d)
    other = replace(core, weight=2 * core.weight)
    lying = replace(task, job=replace(task.job, layer=replace(task.job.layer, core=other)))
    (result,) = measured(measurer, lying, 1)
    assert (result.status, result.times_ms) == ("wrong result", ())
    assert "of the largest value" in result.error


def test_a_crash_costs_its_candidate_only(
    measurer: RemoteMeasurer, tracker: str, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(measurer._builders, "build", built_of(CRASH, tmp_path))
        (result,) = measured(measurer, task, 1)
    assert result.status == "crash"
    assert "crashed" in result.error
    assert servers(tracker, "pair") == 2
    assert [each.status for each in measured(measurer, task, 2)] == ["ok"] * 2


def test_servers_of_one_key_must_have_one_cpu(
    measurer: RemoteMeasurer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Machine("there:9090", replace(read_host(), cpu="haswell", model="an older CPU"))
    monkeypatch.setattr(measurer, "_machine", other)
    with pytest.raises(SparsegenError, match=r"same CPU: there:9090 has an older CPU \(haswell\), 127.0.0.1"):
        measured(measurer, task, 1)


HIDDEN = ("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")


def hiding() -> Host:
    """This machine as a hypervisor may show it: with the name of one with AVX-512, and without that."""
    host = read_host()
    return replace(host, cpu="x86-64-v4", flags=host.flags - {"apx", *HIDDEN})


def test_servers_of_one_key_must_hide_the_same_features() -> None:
    host = replace(hiding(), flags=hiding().flags.union(HIDDEN))
    open_, hidden = Machine("here:9090", host), Machine("there:9090", hiding())
    remote._check(hidden, hidden, 1)
    remote._check(open_, Machine("there:9090", replace(host, flags=host.flags | {"new"})), 1)
    message = rf"same CPU: here.* has .* \(x86-64-v4\), there.* has .* \(x86-64-v4 without {HIDDEN[0]}, "
    with pytest.raises(SparsegenError, match=message):
        remote._check(hidden, open_, 1)


def test_code_is_for_what_a_server_does_not_hide() -> None:
    idle = SimpleNamespace(limits=LIMITS, close=lambda: None)
    measurer = RemoteMeasurer(
        Tracker("127.0.0.1", 1, "key"),
        Machine("there:9090", replace(hiding(), cores=7, l2_bytes=0)),
        builders=idle,  # type: ignore[arg-type]
        worker=idle,  # type: ignore[arg-type]
        helper=Path(),
        threads=3,
    )
    measurer.close()
    target, setting = measurer.target, measurer.setting
    assert (target.cpu, target.isa, target.without) == ("x86-64-v4", "AVX2", HIDDEN)
    assert (target.cores, target.l2_bytes) == (7, 512 << 10)
    assert (setting.cpu, setting.isa, setting.machine) == ("x86-64-v4", "AVX2", hiding().model)


def test_a_server_takes_the_threads_that_are_asked_for(
    measurer: RemoteMeasurer, tracker: str, pair: tuple[Server, Server]
) -> None:
    session = Session(
        Tracker.parse(tracker, "pair"), measurer._lanes._helper, lasting_s=SECONDS, wait_s=SECONDS
    )
    session.use_threads(3)
    found = int(session._remote.get_function("runtime.NumThreads")())
    session.close()
    assert found == 3


@pytest.mark.parametrize("address", ["tracker", "tracker:", ":9190", "tracker:port", "tracker:70000"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(SparsegenError, match=f"'{address}' is no address of an RPC tracker; give HOST:PORT"):
        RemoteMeasurer.connect(address, "key", threads=1)


def test_a_tracker_that_is_not_there() -> None:
    port = free_port()
    with pytest.raises(
        SparsegenError,
        match=rf"no RPC tracker answers at 127.0.0.1:{port} .*refused.*python -m tvm.exec.rpc_tracker",
    ):
        RemoteMeasurer.connect(f"127.0.0.1:{port}", "key", threads=1)


def test_a_key_without_servers(tracker: str, pair: tuple[Server, Server]) -> None:
    with pytest.raises(
        SparsegenError,
        match=r"no server of key 'pear' \(it has 2 of key 'pair'\); "
        r"start one with `python -m tvm.exec.rpc_server --tracker .* --key pear`",
    ):
        RemoteMeasurer.connect(tracker, "pear", threads=1)


def test_more_threads_than_a_server_has_cores(tracker: str, pair: tuple[Server, Server]) -> None:
    with pytest.raises(SparsegenError, match=r"cores, too few for 999 threads"):
        RemoteMeasurer.connect(tracker, "pair", threads=999)


def test_a_killed_server_costs_its_candidate_only(
    measurer: RemoteMeasurer, tracker: str, pair: tuple[Server, Server], serve: Serve, task: Task
) -> None:
    dying, results = None, []
    running = measurer.measure(
        task.job, sampled(task, 8), best_ms=float("inf"), deadline=time.monotonic() + SECONDS
    )
    for result in running:
        results.append(result)
        if dying is None:
            dying = next_to_load(pair)  # it has just begun a candidate
            dying.kill()
    assert sorted(each.status for each in results) == ["lost", *["ok"] * 7]
    (lost,) = (each for each in results if each.status == "lost")
    assert "went away" in lost.error
    fresh = serve("pair")  # one that comes back is used again
    wait_for(lambda: servers(tracker, "pair") == 2)
    wait_for(lambda: bool(measured(measurer, task, 2)) and fresh.loaded() > 0)


def test_measuring_ends_when_no_server_is_left(
    measurer: RemoteMeasurer,
    pair: tuple[Server, Server],
    task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "GONE_S", 2.0)
    monkeypatch.setattr(lanes, "_TRANSFER_S", 1.0)
    monkeypatch.setattr(measurer._builders, "limits", Limits(run_s=1.0))
    with monkeypatch.context() as patch:
        patch.setattr(measurer._builders, "build", built_of(HANG, tmp_path))
        (result,) = measured(measurer, task, 1)
    assert (result.status, result.error) == ("timeout", "run took longer than 2 s")
    for server in pair:
        server.kill()
    with pytest.raises(SparsegenError, match=r"no server has been left for \d s: .* no server of key 'pair'"):
        measured(measurer, task, 1)
