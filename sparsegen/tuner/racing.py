"""The final races: the best few schedules of a workload against the incumbent, timed in turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sparsegen.database.trial import Race
from sparsegen.database.workload import Setting
from sparsegen.errors import SparsegenError
from sparsegen.kernels.space import KernelSchedule
from sparsegen.tuner.state import TaskState

RACE_S = 4.0
"""Seconds that a race takes about, with its builds."""

_RACERS = 4  # of the best, against the incumbent and the default


def in_order(states: Iterable[TaskState]) -> list[TaskState]:
    """The workloads that save the model most time come first: time for races may run out."""
    return sorted(states, key=lambda state: state.saved_ms, reverse=True)


def racers_of(state: TaskState, races: Sequence[Race], setting: Setting) -> list[KernelSchedule]:
    """Who races for a workload: the incumbent, the default, the best few. Empty where nothing is new.

    The incumbent is the winner of the last race, the default where there was none.
    """
    space = state.task.space
    last = next(
        (each for each in reversed(races) if (each.workload, each.setting) == (state.task.workload, setting)),
        None,
    )
    incumbent, raced = space.default, set[KernelSchedule]()
    if last is not None:
        try:
            incumbent = space.read(last.schedules[last.winner])
            raced = {space.make(**point) for point in last.schedules}
        except SparsegenError:
            pass  # no longer legal, so that it says nothing
    fastest = state.fastest(_RACERS)
    racers = list(dict.fromkeys([incumbent, space.default, *fastest]))
    return racers if len(racers) > 1 and not set(fastest) <= raced else []
