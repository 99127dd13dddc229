"""The executor: results and their order, state, back-pressure, errors, and that it always ends."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.errors import ExecutionError, InputError, PlanError
from sparsegen.hetero.plans.plan import Plan, PlanDevice
from sparsegen.hetero.running.emulation import Emulated
from sparsegen.hetero.running.executor import Executor
from sparsegen.hetero.running.runners import hung
from tests.hetero.plans import operator, plan_of, random_plans, random_stages
from tests.sampling import examples

pytestmark = pytest.mark.usefixtures("no_thread_left")
LONG_S = 100.0


def named(name: str) -> Callable[..., Any]:
    """A runner whose result tells what it was called with."""
    return lambda *inputs: (name, inputs)


def sequential(plan: Plan, inputs: list[int]) -> list[Any]:
    """What `named` runners give one after the other."""
    read = {name for each in plan.operators for name in each.reads}
    before: dict[str, Any] = {}
    found = []
    for number in inputs:
        now: dict[str, Any] = {}
        for each in plan.operators:
            values = [now[name] for name in each.reads] + [before.get(name) for name in each.carries]
            now[each.name] = (each.name, (*values, *(() if each.reads else (number,))))
        outputs = tuple(now[each.name] for each in plan.operators if each.name not in read)
        found.append(outputs if len(outputs) > 1 else outputs[0])
        before = now
    return found


@examples(12, soak=2000)
@given(st.one_of(random_plans(most=8), random_stages()), st.integers(0, 12))
def test_results_are_those_of_running_one_by_one(plan: Plan, count: int) -> None:
    inputs = list(range(count))
    with Executor(plan, {each.name: named(each.name) for each in plan.operators}) as executor:
        assert list(executor.map(inputs)) == sequential(plan, inputs)


CHAIN = plan_of([operator("x", "a", 1), operator("y", "b", 1, "x"), operator("z", "c", 1, "y")], depth=6)
RUNNERS: dict[str, Callable[..., Any]] = {each: named(each) for each in "xyz"}


def test_calls_and_streams_take_turns() -> None:
    with Executor(CHAIN, RUNNERS) as executor:
        assert executor(1) == ("z", (("y", (("x", (1,)),)),))
        assert [result[1][0][1][0][1] for result in executor.map([(1, 2), 3])] == [(1, 2), (3,)]
        stream = executor.map([4, 5])
        next(stream)
        with pytest.raises(ExecutionError, match="a stream is under way"):
            executor(6)
        assert len(list(stream)) == 1
        assert executor(7)[1][0][1][0][1] == (7,)


def test_outputs_and_feeds_may_be_chosen() -> None:
    plan = plan_of([operator("x", "a", 1), operator("y", "b", 1, "x")])
    runners = {"x": lambda *given: sum(given), "y": lambda read, given: (read, given)}
    with Executor(plan, runners, outputs=("x", "y"), feeds={"x": [0, 1], "y": [2]}) as executor:
        assert executor(1, 2, 30) == (3, (3, 30))
        with pytest.raises(InputError, match=r"^input 1: operator y is fed part 2 of each, .*given are 2"):
            list(executor.map([(1, 2, 3), (1, 2)]))
        assert executor(4, 5, 6) == (9, (9, 6))


def test_state_goes_from_input_to_input() -> None:
    """Over two devices: x adds what y had of the input before."""
    plan = plan_of([operator("x", "a", 1, carries=("y",)), operator("y", "b", 1, "x")], depth=4)
    runners = {"x": lambda state, given: state + given, "y": lambda read: read}
    with Executor(plan, runners, initial={"y": 100}) as executor:
        assert list(executor.map([1, 2, 3])) == [101, 103, 106]
        assert executor(4) == 110
        executor.reset()
        assert executor(5) == 105
        stream = executor.map([1, 1, 1])
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        assert executor(6) == 106  # a stream that was left leaves no state


def test_inputs_under_way_are_bounded() -> None:
    """The consumer, who takes nothing, holds all back; and so does a device, by its queue."""
    asked: list[int] = []

    def inputs() -> Iterator[int]:
        for number in range(50):
            asked.append(number)
            yield number

    with Executor(replace(CHAIN, depth=3), RUNNERS) as executor:
        stream = executor.map(inputs())
        assert asked == []
        next(stream)
        assert len(asked) == 3
        assert len(list(stream)) == 49


def test_a_full_queue_holds_the_faster_device_back() -> None:
    began: list[int] = []
    go, ahead = threading.Event(), threading.Event()

    def fast(given: int) -> int:
        began.append(given)
        if len(began) == 4:
            ahead.set()
        return given

    def slow(given: int) -> int:
        assert go.wait(LONG_S)
        return given

    plan = plan_of([operator("x", "a", 1), operator("y", "b", 1, "x")], depth=20, queue=2)
    with Executor(plan, {"x": fast, "y": slow}) as executor:
        stream = executor.map(range(20))
        taker = threading.Thread(target=lambda: taken.extend(stream))
        taken: list[int] = []
        taker.start()
        assert ahead.wait(LONG_S)  # one with y, two wait, one is held
        time.sleep(0.05)
        assert began == [0, 1, 2, 3]
        go.set()
        taker.join(LONG_S)
        assert taken == list(range(20))


def fails_at(number: int, error: BaseException) -> Callable[[int], int]:
    def runner(given: int) -> int:
        if given == number:
            raise error
        return given

    return runner


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()])
def test_the_first_error_comes_in_its_turn(error: BaseException) -> None:
    same: dict[str, Callable[..., Any]] = dict.fromkeys("xyz", lambda given: given)
    with Executor(CHAIN, {**same, "y": fails_at(3, error)}) as executor:
        executor(0)
        found = []
        with pytest.raises(ExecutionError, match="operator y failed on b, for input 3") as raised:
            found.extend(executor.map(range(10)))
        assert found == [0, 1, 2]
        assert raised.value.input == 3
        assert raised.value.__cause__ is error
        assert list(executor.map([7, 8])) == [7, 8]


def test_an_error_of_the_inputs_comes_after_the_results() -> None:
    def inputs() -> Iterator[int]:
        yield from (1, 2)
        raise LookupError("no more frames")

    with Executor(CHAIN, dict.fromkeys("xyz", lambda given: given)) as executor:
        found: list[int] = []
        with pytest.raises(LookupError, match="no more frames"):
            found.extend(executor.map(inputs()))
        assert found == [1, 2]
        assert executor(3) == 3


def test_state_after_an_error_is_the_first_one() -> None:
    plan = plan_of([operator("x", "a", 1, carries=("x",))], depth=3)

    def add(state: int, given: int) -> int:
        if given < 0:
            raise ValueError("negative")
        return state + given

    with Executor(plan, {"x": add}, initial={"x": 0}) as executor:
        assert list(executor.map([1, 2])) == [1, 3]
        with pytest.raises(ExecutionError):
            list(executor.map([-1, 5, 6]))
        assert list(executor.map([1, 2])) == [1, 3]


def test_what_hangs_in_a_thread_is_refused_afterwards() -> None:
    go = threading.Event()

    def hangs(given: int) -> int:
        if given == 1:
            go.wait(LONG_S)
        return given

    runners = {**dict.fromkeys("xz", lambda given: given), "y": hangs}
    executor = Executor(CHAIN, runners, limit_s=0.2)
    with pytest.raises(ExecutionError, match=r"operator y did not end on b in 0.2 s") as raised:
        list(executor.map(range(9)))
    assert raised.value.input == 1
    (left,) = [each for each in threading.enumerate() if each.name.startswith("sparsegen ")]
    with pytest.raises(ExecutionError, match="the plan cannot be run: operator y did not end"):
        executor(2)
    with pytest.raises(ExecutionError, match="the runner of operator y hung before"):
        Executor(CHAIN, runners)
    go.set()
    left.join(LONG_S)
    assert hung == []  # it has ended after all
    executor.close()
    with Executor(CHAIN, runners) as other:
        assert other(1) == 1


def test_a_full_pipeline_closes() -> None:
    """In the middle of a stream, with every queue full, by another thread and in a consumer's hands."""
    go, began = threading.Event(), threading.Event()

    def waits(given: int) -> int:
        began.set()
        go.wait(LONG_S)
        return given

    plan = replace(CHAIN, depth=50, queue=1)
    executor = Executor(plan, {**dict.fromkeys("xy", lambda given: given), "z": waits})
    errors = []

    def take() -> None:
        try:
            list(executor.map(range(100)))
        except ExecutionError as error:
            errors.append(str(error))

    taker = threading.Thread(target=take)
    taker.start()
    assert began.wait(LONG_S)
    threading.Timer(0.05, go.set).start()
    executor.close()
    executor.close()
    taker.join(LONG_S)
    assert errors == ["the plan cannot be run: the executor is closed"]
    with pytest.raises(ExecutionError, match="the executor is closed"):
        executor(1)


def test_ctrl_c_ends_everything() -> None:
    began, go = threading.Event(), threading.Event()

    def waits(given: int) -> int:
        began.set()
        go.wait(LONG_S)
        return given

    def interrupt() -> None:
        began.wait(LONG_S)
        os.kill(os.getpid(), signal.SIGINT)
        go.set()

    executor = Executor(CHAIN, {**RUNNERS, "y": waits})
    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        list(executor.map(range(100)))
    other.join(LONG_S)
    with pytest.raises(ExecutionError, match="the executor is closed"):
        executor(1)


def test_several_threads_may_call() -> None:
    with Executor(CHAIN, dict.fromkeys("xyz", lambda given: given)) as executor:
        found: list[tuple[int, int]] = []
        threads = [
            threading.Thread(target=lambda n=n: found.extend((n, executor(n)) for _ in range(20)))
            for n in range(4)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join(LONG_S)
        assert len(found) == 80
        assert all(given == result for given, result in found)


def test_threads_end_with_an_executor_that_nobody_has() -> None:
    executor = Executor(CHAIN, RUNNERS)
    threads = [worker.thread for worker in executor._team.workers]
    gone = weakref.ref(executor)
    del executor
    gc.collect()
    assert gone() is None
    for each in threads:
        each.join(LONG_S)
        assert not each.is_alive()


def test_results_are_not_kept() -> None:
    class Big:
        pass

    made: list[weakref.ref[Big]] = []

    def make(given: int) -> Big:
        big = Big()
        made.append(weakref.ref(big))
        return big

    runners: dict[str, Callable[..., Any]] = {"x": make, "y": lambda big: (big, 1)[1], "z": lambda one: one}
    with Executor(CHAIN, runners) as executor:
        list(executor.map(range(30)))
        gc.collect()
        assert sum(each() is not None for each in made) <= 1


def test_threads_keep_to_their_cores() -> None:
    core = min(os.sched_getaffinity(0))
    plan = plan_of([operator("x", "a", 1)], kind="cpu")
    pinned = replace(plan, devices=(PlanDevice("a", "cpu", {"cores": [core]}),))
    with Executor(pinned, {"x": lambda given: os.sched_getaffinity(0)}) as executor:
        assert executor(0) == {core}
    assert core in os.sched_getaffinity(0)  # this thread's are as they were
    missing = replace(plan, devices=(PlanDevice("a", "cpu", {"cores": [4096]}),))
    with pytest.raises(PlanError, match="device a is to have core 4096, and this process may use"):
        Executor(missing, {"x": lambda given: given})


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"x": None}, {}, "there is no runner for operator x"),
        ({"q": str}, {}, "a runner is for q, and the plan's operators are x, y, z"),
        ({}, {"outputs": ("q",)}, "an output is for q"),
        ({}, {"feeds": {"q": [0]}}, "inputs are fed for q"),
        ({}, {"initial": {"q": 0}}, "an initial state is for q"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], options: dict[str, Any], message: str) -> None:
    runners = {name: each for name, each in {**RUNNERS, **changed}.items() if each is not None}
    with pytest.raises(ExecutionError, match=message):
        Executor(CHAIN, runners, **options)


def test_an_unsound_plan_is_refused() -> None:
    with pytest.raises(PlanError, match="is unsound"):
        Executor(replace(CHAIN, transfers=()), RUNNERS)


def test_a_forked_child_has_no_threads() -> None:
    with Executor(CHAIN, RUNNERS) as executor:
        pid = os.fork()
        if pid == 0:
            try:
                executor(1)
            except ExecutionError as error:
                os._exit(7 if "forked" in str(error) else 1)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert executor(1) is not None


class ToyClock:
    """A clock that stands, but for waits."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wait_until(self, time: float) -> None:
        self.time = max(self.time, time)


def test_an_emulated_device_takes_its_time() -> None:
    clock = ToyClock()

    def computes(seconds: float) -> str:
        clock.time += seconds
        if seconds > 9:
            raise ValueError("too long")
        return "done"

    emulated = Emulated(computes, 2.0, clock)
    assert (emulated(0.5), clock.time) == ("done", 2.0)
    assert (emulated(3.0), clock.time) == ("done", 5.0)  # late: computing itself took longer
    with pytest.raises(ValueError, match="too long"):
        emulated(10.0)
    assert (emulated.calls, emulated.late) == (3, 2)


@pytest.mark.parametrize(("exclusive", "makespan"), [(False, 2 + 4 + 1), (True, 1 + 4 + 4 + 1)])
def test_emulated_plans_have_the_plans_times(exclusive: bool, makespan: float) -> None:
    """Of one input on one clock that only waits move, so that the order of threads does not count."""
    operators = [operator("x", "a", 1), operator("y", "a", 1), operator("z", "b", 1, "xy")]
    plan = plan_of(operators, 4.0, exclusive=exclusive, kind="profile")
    clock = ToyClock()
    runners = {each.name: Emulated(named(each.name), each.seconds, clock) for each in plan.operators}
    with Executor(plan, runners, clock=clock, record=True) as executor:
        executor(0)
        timeline = executor.timeline()
    assert timeline.makespan == makespan
    assert timeline.operator_seconds() == {"x": 1, "y": 1, "z": 1}
    assert timeline.transfer_seconds() == {("x", "a", "b"): 4, ("y", "a", "b"): 4}


def test_events_are_recorded() -> None:
    with Executor(CHAIN, RUNNERS, record=True) as executor:
        list(executor.map([1, 1, 1]))
        timeline = executor.timeline()
    assert len(timeline.finished) == 3
    assert len([each for each in timeline.events if each.kind == "operator"]) == 9
    assert timeline.period > 0
