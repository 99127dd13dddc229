"""Interleaved timing, with a clock that only the timed calls move."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import pairwise

import pytest

from sparsegen.compare.timing import WARMUP, time_in_turn
from sparsegen.errors import EngineError


class Clock:
    """Seconds that pass only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def worker(self, name: str, seconds: list[float]) -> Callable[[], None]:
        """A call that takes the next of `seconds`, and the last one ever after."""
        pending = [*seconds]

        def work() -> None:
            self.log.append(name)
            self.now += pending.pop(0) if len(pending) > 1 else pending[0]

        return work


def test_calls_take_turns() -> None:
    clock = Clock()
    time_in_turn({name: clock.worker(name, [1.0]) for name in "abc"}, samples=20, clock=clock)
    assert clock.log[: 3 * WARMUP] == ["a", "b", "c"] * WARMUP
    timed = clock.log[3 * WARMUP :]
    rounds = [tuple(timed[at : at + 3]) for at in range(0, len(timed), 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert all(name != following for name, following in pairwise(timed))
    assert len({each[0] for each in rounds}) == 3, "somebody is never the first"


def test_times_go_to_their_calls_whatever_the_order() -> None:
    clock = Clock()
    calls = {"a": clock.worker("a", [0.001]), "b": clock.worker("b", [0.002])}
    timings = time_in_turn(calls, samples=9, clock=clock)
    assert {name: timing.median_ms for name, timing in timings.items()} == pytest.approx({"a": 1, "b": 2})


def test_warm_up_is_not_counted() -> None:
    clock = Clock()
    timings = time_in_turn({"a": clock.worker("a", [99.0] * WARMUP + [0.002])}, samples=5, clock=clock)
    assert timings["a"].median_ms == pytest.approx(2.0)
    assert timings["a"].p90_ms == pytest.approx(2.0)


def test_median_and_spread_are_in_milliseconds() -> None:
    clock = Clock()
    seconds = [0.0] * WARMUP + [0.001 * sample for sample in range(1, 12)]
    timing = time_in_turn({"a": clock.worker("a", seconds)}, samples=11, clock=clock)["a"]
    assert (timing.p10_ms, timing.median_ms, timing.p90_ms) == pytest.approx((2.0, 6.0, 10.0))


def test_an_outlier_does_not_move_the_median() -> None:
    clock = Clock()
    seconds = [0.0] * WARMUP + [0.003, 5.0, 0.003, 0.003, 0.003]
    assert time_in_turn({"a": clock.worker("a", seconds)}, samples=5, clock=clock)[
        "a"
    ].median_ms == pytest.approx(3.0)


def test_the_garbage_collector_rests_while_the_clock_runs() -> None:
    seen: list[bool] = []
    time_in_turn({"a": lambda: seen.append(gc.isenabled())}, samples=3)
    assert seen[WARMUP:] == [False] * 3
    assert gc.isenabled()


def test_rivals_elsewhere_take_turns_and_their_own_times() -> None:
    clock = Clock()
    ours = clock.worker("ours", [0.002])

    def elsewhere() -> float:
        clock.log.append("elsewhere")
        return 0.005

    timings = time_in_turn({"ours": ours}, elsewhere={"engine": elsewhere}, samples=4, clock=clock)
    assert {name: t.median_ms for name, t in timings.items()} == pytest.approx({"ours": 2.0, "engine": 5.0})
    assert clock.log.count("elsewhere") == WARMUP + 4
    # What is timed here comes after a call that is not, as elsewhere.
    assert clock.log.count("ours") == 2 * (WARMUP + 4)


@pytest.mark.parametrize("last", [0, 1, WARMUP + 2])
def test_a_rival_elsewhere_that_fails_takes_no_further_part(last: int) -> None:
    clock, runs = Clock(), iter(range(last))

    def dying() -> float:
        clock.log.append("dying")
        if next(runs, None) is None:
            raise EngineError("its process ended")
        return 0.005

    calls, elsewhere = {"ours": clock.worker("ours", [0.002])}, {"dying": dying, "steady": lambda: 0.003}
    timings = time_in_turn(calls, elsewhere=elsewhere, samples=4, clock=clock)
    assert {name: t.median_ms for name, t in timings.items()} == pytest.approx({"ours": 2.0, "steady": 3.0})
    assert clock.log.count("dying") == last + 1
    assert clock.log.count("ours") == 2 * (WARMUP + 4)
