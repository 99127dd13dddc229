"""Operators in processes of their own: what dies or hangs there is an error of its input, and is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsegen.errors import ExecutionError
from sparsegen.hetero.plans.plan import PlanDevice
from sparsegen.hetero.running.executor import Executor
from sparsegen.hetero.running.isolation import Isolated
from tests.hetero.plans import operator, plan_of
from tests.preloaded import run

pytestmark = pytest.mark.usefixtures("no_thread_left")
PLAN = plan_of([operator("x", "a", 1), operator("y", "b", 1, "x")], depth=3)


def obey(given: Any) -> Any:
    """Do what an input says."""
    if given == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if given == "leave":
        os._exit(3)
    if given == "hang":
        threading.Event().wait()
    if given == "raise":
        raise ValueError("bad input")
    if given == "odd":
        return threading.Lock()
    return os.getpid(), given


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def runners(make: Callable[[], Any] = lambda: obey, **limit: float) -> dict[str, Any]:
    return {"x": lambda given: given, "y": Isolated(make, **limit)}


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("die", "its process died: SIGSEGV"),
        ("leave", "its process died: exit status 3"),
        ("raise", "it raised ValueError: bad input in its process"),
        ("odd", "it raised TypeError: cannot pickle"),
    ],
)
def test_a_process_that_fails_is_its_inputs_error(order: str, message: str) -> None:
    with Executor(PLAN, runners()) as executor:
        first, _ = executor("fine")
        assert first != os.getpid()
        found = []
        with pytest.raises(ExecutionError, match=f"operator y failed on b, for input 1: {message}") as raised:
            found.extend(executor.map(["fine", order, "fine", "fine"]))
        assert found == [(first, "fine")]
        assert raised.value.input == 1
        again, _ = executor("fine")  # in another process, if that has died
        assert (again == first) == (order in ("raise", "odd"))
    assert is_gone(first)
    assert is_gone(again)


def test_a_process_that_hangs_is_ended() -> None:
    with Executor(PLAN, runners(), limit_s=0.5) as executor:
        pid, _ = executor("fine")
        with pytest.raises(ExecutionError, match=r"its process gave no answer in 0.5 s, and was ended"):
            executor("hang")
        assert is_gone(pid)
        assert executor("fine")[1] == "fine"  # the plan is not refused


def test_closing_ends_a_process_that_works() -> None:
    executor = Executor(PLAN, runners())
    pid, _ = executor("fine")
    errors = []

    def hang() -> None:
        try:
            executor("hang")
        except ExecutionError as error:
            errors.append(error)

    caller = threading.Thread(target=hang)
    caller.start()
    while all(worker.busy is None for worker in executor._team.workers if worker.device == "b"):
        pass
    executor.close()
    caller.join(100)
    assert len(errors) == 1
    assert is_gone(pid)


def test_a_runner_that_cannot_be_made_is_refused() -> None:
    def make() -> Any:
        raise LookupError("no such model")

    with pytest.raises(ExecutionError, match="it raised LookupError: no such model in its process"):
        Executor(PLAN, runners(make))


def test_a_plain_runner_may_be_marked() -> None:
    def runner(given: np.ndarray[Any, Any]) -> Any:
        return os.getpid(), given * 2

    runner.in_process = False  # type: ignore[attr-defined]
    with Executor(PLAN, {"x": lambda given: given, "y": runner}) as executor:
        pid, result = executor(np.arange(3))
        assert pid != os.getpid()
        assert result.tolist() == [0, 2, 4]


def test_processes_keep_to_their_devices_cores() -> None:
    core = min(os.sched_getaffinity(0))
    devices = (PLAN.devices[0], PlanDevice("b", "cpu", {"cores": [core]}))
    operators = (PLAN.operators[0], replace(PLAN.operators[1], implementation="ours"))
    with Executor(
        replace(PLAN, devices=devices, operators=operators),
        runners(lambda: lambda given: os.sched_getaffinity(0)),
    ) as executor:
        assert executor(0) == {core}


def test_copies_have_processes_of_their_own() -> None:
    plan = plan_of([operator("x", "a", 1)], depth=2, replicas=({}, {"a": "b"}))
    with Executor(plan, {"x": Isolated(lambda: obey)}) as executor:
        pids = [pid for pid, _ in executor.map(range(4))]
    assert pids[:2] == pids[2:]
    assert len(set(pids)) == 2


def test_a_process_ends_with_ours() -> None:
    """However that ends: here it is killed."""
    code = (
        "import os, sys; sys.path.insert(0, os.getcwd())\n"
        "from tests.hetero.test_isolation import PLAN, runners\n"
        "from sparsegen.hetero.running.executor import Executor\n"
        "print(Executor(PLAN, runners())('fine')[0], flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = run("-c", code)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    subprocess.run(["tail", f"--pid={pid}", "-f", os.devnull], timeout=100, check=True)
    assert is_gone(pid)
