"""Makes the team of an executor: its workers, and who tells whom."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from sparsegen.errors import ExecutionError, PlanError
from sparsegen.hetero.plans.lanes import Lane, Work, edges_of, lanes_of, stand_in
from sparsegen.hetero.plans.plan import Plan, PlannedTransfer
from sparsegen.hetero.running import runners as known
from sparsegen.hetero.running.buses import Buses
from sparsegen.hetero.running.clock import Clock
from sparsegen.hetero.running.runners import Runner
from sparsegen.hetero.running.workers import BoundWork, Delivery, Route, Worker

if TYPE_CHECKING:
    from sparsegen.hetero.running.isolation import Isolated

_EMULATED = "profile"
_STARTING_S = 150.0  # that a call may take beyond its limit, where it starts a process


@dataclass(frozen=True)
class Settings:
    """What an executor was told about its workers; see there."""

    outputs: tuple[str, ...]
    reported: Collection[str]
    feeds: Mapping[str, tuple[int, ...]]
    initial: Mapping[str, Any]
    limit_s: float
    record: bool
    clock: Clock
    transfer_seconds: Callable[[PlannedTransfer], float] | None


@dataclass(frozen=True)
class Team:
    """All workers; those of each replica, lane by lane; the runners that have processes, and their cores."""

    workers: tuple[Worker, ...]
    replicas: tuple[tuple[Worker, ...], ...]
    isolated: tuple[tuple[Isolated, tuple[int, ...]], ...]
    buses: Buses


def check_runners(plan: Plan, runners: Mapping[str, Runner], settings: Settings) -> None:
    """Raise ExecutionError for operators without a runner that may be called, and for unknown names."""
    names = [each.name for each in plan.operators]
    missing = [name for name in names if name not in runners]
    if missing:
        raise ExecutionError(f"there is no runner for operator {_listed(missing)}")
    for word, given in (
        ("a runner is", runners),
        ("an output is", settings.outputs),
        ("inputs are fed", settings.feeds),
        ("an initial state is", settings.initial),
    ):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ExecutionError(
                f"{word} for {_listed(unknown)}, and the plan's operators are {_listed(names)}"
            )
    hung = [name for name in names if runners[name] in known.hung]
    if hung:
        raise ExecutionError(
            f"the runner of operator {_listed(hung)} hung before, and may still run: start a new process"
        )


def check_cores(plan: Plan) -> None:
    """Raise PlanError for devices that take part, and whose cores this process may not use."""
    allowed = os.sched_getaffinity(0)
    replicas = range(len(plan.replicas))
    for device in sorted({stand_in(plan, each.device, n) for each in plan.operators for n in replicas}):
        missing = [str(core) for core in _cores(plan, device) if core not in allowed]
        if missing:
            cores = ", ".join(map(str, sorted(allowed)))
            raise PlanError(
                f"device {device} is to have core {', '.join(missing)}, and this process may use "
                f"{cores}: make a plan for this machine, or start it with more cores"
            )


def assemble(
    plan: Plan, runners: Mapping[str, Runner], settings: Settings, results: SimpleQueue[Delivery | None]
) -> Team:
    """Make the workers of a sound plan, whose threads are still to be started."""
    lanes = lanes_of(plan)
    workers: dict[tuple[str, int], Worker] = {}
    isolated: list[tuple[Any, tuple[int, ...]]] = []
    replicas = []
    for replica in range(len(plan.replicas)):
        row = []
        for lane in lanes:
            key = stand_in(plan, lane.device, replica), lane.number
            if key not in workers:
                workers[key] = Worker(
                    *key,
                    replicas=len(plan.replicas),
                    cores=_cores(plan, key[0]),
                    results=results,
                    initial=settings.initial,
                    clock=settings.clock,
                    record=settings.record,
                )
            worker = workers[key]
            works = [_bound(lane, work, _runner(runners, work, replica), settings) for work in lane.works]
            worker.works[replica] = works
            isolated += [(b.runner, _cores(plan, key[0])) for b in works if not _in_process(b.runner)]
            row.append(worker)
        replicas.append(tuple(row))
    buses = _connect(plan, lanes, replicas, settings)
    return Team(tuple(workers.values()), tuple(replicas), tuple(isolated), buses)


def _runner(runners: Mapping[str, Runner], work: Work, replica: int) -> Runner:
    """What computes an operator for a replica: each has a process of its own, where the operator has one."""
    runner = runners[work.operator.name]
    if _in_process(runner):
        return runner
    from sparsegen.hetero.running.isolation import Isolated  # here, for few plans need it

    isolated = runner if isinstance(runner, Isolated) else Isolated(lambda: runner)
    return isolated.twin() if replica else isolated


def _in_process(runner: Any) -> bool:
    return bool(getattr(runner, "in_process", True))


def _bound(lane: Lane, work: Work, runner: Any, settings: Settings) -> BoundWork:
    name, limit_s = work.operator.name, settings.limit_s
    if not _in_process(runner):
        runner.limit_s = limit_s
        limit_s += _STARTING_S
    uses = sum(need.operator == name and need.passed for each in lane.works for need in each.needs)
    feeds = settings.feeds.get(name, () if work.operator.reads else None)
    return BoundWork(work, runner, limit_s, feeds, uses, name in settings.reported)


def _connect(
    plan: Plan, lanes: tuple[Lane, ...], replicas: Sequence[Sequence[Worker]], settings: Settings
) -> Buses:
    """Tell the works of every replica where results go, and who waits for their being taken.

    Transfers take turns where they are emulated, and take a link or a bus alone.
    """
    in_turn = {
        number
        for number, each in enumerate(plan.transfers)
        if (each.exclusive or each.buses) and _is_emulated(plan, each, settings)
    }
    buses, edges = Buses(plan, in_turn), edges_of(plan, lanes)
    for replica, row in enumerate(replicas):
        works = {bound.name: bound for worker in row for bound in worker.works[replica]}
        for edge in edges:
            source, target = row[edge.source], row[edge.target]
            seconds = _seconds(plan, edge.transfer, settings)
            number = None if edge.transfer is None else plan.transfers.index(edge.transfer)
            turns = number if number in in_turn else None
            route = Route(edge, target, seconds, buses, turns)
            routes = works[edge.operator].routes
            shared = (r for r in routes if edge.transfer is not None and r[0].edge.transfer is edge.transfer)
            together = next(shared, None)
            if together is None:
                routes.append([route])
            else:
                together.append(route)
            target.uses[edge.operator, replica] = len(edge.readers)
            if edge.depth is not None:
                reader, back = edge.last
                works[reader].takes.append((edge.operator, edge.target, back, source))
    return buses


def _seconds(plan: Plan, transfer: PlannedTransfer | None, settings: Settings) -> float:
    """What a transfer takes that is emulated."""
    if transfer is None:
        return 0.0
    if settings.transfer_seconds is not None:
        return settings.transfer_seconds(transfer)
    return transfer.seconds if _is_emulated(plan, transfer, settings) else 0.0


def _is_emulated(plan: Plan, transfer: PlannedTransfer, settings: Settings) -> bool:
    """Whether a transfer takes its time here; a real one takes what it takes."""
    kinds = {each.name: each.kind for each in plan.devices}
    return settings.transfer_seconds is not None or _EMULATED in (
        kinds[transfer.source],
        kinds[transfer.target],
    )


def _cores(plan: Plan, name: str) -> tuple[int, ...]:
    """The cores that a device's threads keep to; none for a device that says nothing of them."""
    (device,) = (each for each in plan.devices if each.name == name)
    cores = device.settings.get("cores", ())
    return tuple(cores) if device.kind == "cpu" and isinstance(cores, list | tuple) else ()


def _listed(names: Collection[str], most: int = 5) -> str:
    shown = list(names)[:most]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")
