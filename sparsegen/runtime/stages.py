"""Kernels in a row, bound to native code: one after the other, or in stages of groups that run at once."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from sparsegen.errors import SparsegenError
from sparsegen.runtime import bindings
from sparsegen.runtime.calls import BoundCall, BoundKernel, Slots
from sparsegen.runtime.program import CallGroup, CallStage, KernelCall, Program, Region, TorchCall, Weight
from sparsegen.runtime.structures import CallStruct, ClearingStruct, GroupStruct, call_struct, group_struct


@dataclass(frozen=True, eq=False)
class GroupKernel(BoundKernel):
    """A kernel of a group of so many `threads`, when it runs alone in a model that has a larger `team`."""

    threads: int = 1
    team: int = 1

    def run(self, slots: Slots) -> None:
        """Call the function on the group's threads."""
        bindings.set_threads(self.threads)
        try:
            super().run(slots)
        finally:
            bindings.set_threads(self.team)


@dataclass(frozen=True, eq=False)
class BoundStages:
    """Stages in a row, which native code runs on one team.

    `kernels` are the same calls one by one: they run so where layers are timed. `kept` has what the
    structures point to.
    """

    kernels: tuple[GroupKernel, ...]
    calls: ctypes.Array[CallStruct]
    groups: ctypes.Array[GroupStruct]
    sizes: ctypes.Array[ctypes.c_int64]
    threads: int
    kept: object

    def run(self, slots: Slots) -> None:
        """Run the stages, one after the other."""
        self._run(None)

    def timed(self) -> list[tuple[float, float]]:
        """Run the stages; when each kernel began and ended, in seconds, of `time.monotonic`."""
        clock = (ctypes.c_double * (2 * len(self.kernels)))()
        self._run(clock)
        return list(zip(clock[::2], clock[1::2], strict=True))

    def _run(self, clock: Any) -> None:
        run = bindings.library().sparsegen_run_stages
        calls, stages = len(self.calls), len(self.sizes)
        failed = run(self.calls, calls, self.groups, self.sizes, stages, self.threads, clock)
        if failed >= 0:
            raise _FailedCallError(failed)

    def failure(self, error: Exception) -> SparsegenError:
        """What to raise for an error of native code's."""
        at = error.number if isinstance(error, _FailedCallError) else 0
        return self.kernels[at].failure(error)


class _FailedCallError(Exception):
    """A generated function, by the number of its call, that reported a failure."""

    def __init__(self, number: int) -> None:
        super().__init__("it reported a failure, as where memory for its temporary values is missing")
        self.number = number


def one_by_one(calls: Iterable[BoundCall | BoundStages]) -> list[BoundCall]:
    """All calls, those of stages too, in an order that runs."""
    return [each for call in calls for each in (call.kernels if isinstance(call, BoundStages) else (call,))]


@dataclass(frozen=True, eq=False)
class NativeCall:
    """A kernel as native code calls it: the function's address, its arrays, and the halo that it clears."""

    kernel: BoundKernel
    address: int
    arrays: tuple[NDArray[Any], ...]
    clearing: ClearingStruct | None


def bind_stages(
    calls: Sequence[NativeCall], stages: Sequence[CallStage], threads: int, library: object
) -> BoundStages:
    """Stages in a row and all of their calls, in order; the library has the functions."""
    first = stages[0].first
    groups = [group for stage in stages for group in stage.groups]
    after = {
        call - first: [each - first for each in stage.after.get(call, ())]
        for stage in stages
        for call in range(stage.first, stage.end)
    }
    awaited = {each for others in after.values() for each in others}
    own = {call - first: group.threads for group in groups for call in group.calls}
    kernels = [
        GroupKernel(kernel.layer, kernel.function, kernel.arguments, kernel.clear, own[number], threads)
        for number, kernel in enumerate(call.kernel for call in calls)
    ]
    structs = [
        call_struct(call.address, call.arrays, call.clearing, after[number], awaited=number in awaited)
        for number, call in enumerate(calls)
    ]
    of_groups = [group_struct([call - first for call in each.calls], each.threads) for each in groups]
    return BoundStages(
        kernels=tuple(kernels),
        calls=(CallStruct * len(structs))(*structs),
        groups=(GroupStruct * len(of_groups))(*of_groups),
        sizes=(ctypes.c_int64 * len(stages))(*(len(stage.groups) for stage in stages)),
        threads=threads,
        kept=(library, structs, of_groups, [call.arrays for call in calls]),
    )


def stage_rows(program: Program) -> list[list[CallStage]]:
    """All kernels that are on the arena alone, in stages; those together between which no other calls lie.

    Those that are in no stage of the program's are a group of all threads.
    """
    stages: list[CallStage] = []
    begins = {stage.first: stage for stage in program.stages}
    at = 0
    while at < len(program.calls):
        if at in begins:
            stages.append(begins[at])
        elif _is_on_arena(program.calls[at]):
            stages.append(CallStage(at, at + 1, (CallGroup((at,), program.threads),)))
        at = stages[-1].end if stages and stages[-1].end > at else at + 1
    rows: list[list[CallStage]] = []
    for stage in stages:
        if not rows or rows[-1][-1].end != stage.first:
            rows.append([stage])
        elif (joined := _joined(rows[-1][-1], stage)) is not None:
            rows[-1][-1] = joined
        else:
            rows[-1].append(stage)
    return rows


def _joined(one: CallStage, next_one: CallStage) -> CallStage | None:
    """Two stages as one, where both are one group, of as many threads: these need not meet in between."""
    if len(one.groups) != 1 or len(next_one.groups) != 1:
        return None
    (first,), (second,) = one.groups, next_one.groups
    if first.threads != second.threads:
        return None
    return CallStage(one.first, next_one.end, (CallGroup(first.calls + second.calls, first.threads),))


def _is_on_arena(call: KernelCall | TorchCall) -> bool:
    return isinstance(call, KernelCall) and all(isinstance(each, Region | Weight) for each in call.arguments)
