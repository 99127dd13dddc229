"""The least period of a stream: stages, any placement, or copies, whichever is best."""

from __future__ import annotations

import itertools
import math
import time
from random import Random

from sparsegen.errors import ProblemError
from sparsegen.hetero.problem.problem import Pipelining, Problem, Run, Transfer
from sparsegen.hetero.solver.assignment import assign, is_better, reached
from sparsegen.hetero.solver.bounds import ROUNDING, best_prices, least_work
from sparsegen.hetero.solver.contiguous import stages
from sparsegen.hetero.solver.copies import copies, equivalent_devices
from sparsegen.hetero.solver.greedy import greedy, singles
from sparsegen.hetero.solver.heft import heft
from sparsegen.hetero.solver.instance import NEVER, Instance, Placement
from sparsegen.hetero.solver.moves import Mover
from sparsegen.hetero.solver.periodic import is_entangled, periodic
from sparsegen.hetero.solver.places import Places, some_placement
from sparsegen.hetero.solver.steady import Steady, sent, steady
from sparsegen.progress import Listener, Steps

EXACT_TASKS = 24
"""Problems of more operators are not searched exactly."""

_MOST_NODES = 30_000
_TRIES = 600_000  # moves of the local search times tasks, times devices: some seconds
_SCHEDULES = 40  # that the local search makes, where periods may be out of reach
_HOT, _COLD = 0.05, 0.001  # temperatures, of the period


def shortest_period(
    problem: Problem, *, seed: int = 0, until: float = NEVER, listen: Listener | None = None
) -> Pipelining:
    """The plan for the goal of throughput, of a sound problem; until a time of `time.monotonic`.

    Raises ProblemError where there is no placement.
    """
    alone, rival = rivals(problem, seed=seed, until=until, listen=listen)
    return better(problem, alone, rival)


def better(problem: Problem, alone: Pipelining, rival: Pipelining | None) -> Pipelining:
    """The better of a problem's rivals, with a bound on both."""
    if rival is None:
        return alone
    _, load = best_prices(least_work(Instance(problem)))
    bound = max(min(alone.bound, rival.bound), min(load, alone.period, rival.period))
    best = rival if (rival.period, rival.latency) < (alone.period, alone.latency) else alone
    return Pipelining(**{**vars(best), "bound": min(bound, best.period)})


def rivals(
    problem: Problem, *, seed: int = 0, until: float = NEVER, listen: Listener | None = None
) -> tuple[Pipelining, Pipelining | None]:
    """The best plan without copies, and that with copies, where there can be such; see `shortest_period`."""
    steps = Steps(listen, total=4)
    alone = _placed(problem, seed, until, steps)
    steps.begin("copies")

    def place(part: Problem) -> Pipelining | None:
        try:
            return _placed(part, seed, until, Steps(None, total=0))
        except ProblemError:
            return None

    groups = equivalent_devices(problem)
    return alone, copies(problem, groups, place) if max(map(len, groups)) > 1 else None


def _placed(problem: Problem, seed: int, until: float, steps: Steps) -> Pipelining:
    """The best plan without copies."""
    instance = Instance(problem)
    steps.begin("bounds and simple placements")
    _, bound = best_prices(least_work(instance))
    bound = max(bound * (1 - ROUNDING), recurrence_bound(instance))
    found = [(each.method, each.placement) for each in singles(instance)]
    found += [
        (each.method, each.placement) for each in (heft(instance), greedy(instance)) if each is not None
    ]
    found += [("stages", stages(instance)), ("packed", _packed(instance))]
    method, best, state = _best(instance, found)
    if state.period == NEVER:
        method, best, state = _best(instance, [("some placement", some_placement(instance))])
    steps.begin("local search")
    better, improved = _improved(instance, best, state, bound, seed, until)
    if is_better(improved, state):
        best, state, method = better, improved, "local search"
    steps.begin("branch and bound")
    if instance.count <= EXACT_TASKS:
        assigned = assign(instance, best, state, most_nodes=_MOST_NODES, until=until)
        if is_better(assigned.state, state):
            best, state, method = assigned.placement, assigned.state, "exact"
        bound = max(bound, assigned.bound)
        if bound >= state.period * (1 - ROUNDING):
            method = "exact"
    if state.period == NEVER:
        raise ProblemError(
            "no placement was found for which links carry all that passes between devices, from one "
            "input to the next, too: add links"
        )
    return pipelining(instance, best, state, bound, method)


def pipelining(
    instance: Instance, placement: Placement, state: Steady, bound: float, method: str
) -> Pipelining:
    """The answer of an allowed placement of a state, with a bound of any answer's period, and its method."""
    found = periodic(instance, placement, steady(instance, placement).period)
    names, devices = instance.names, instance.device_names
    runs = [
        Run(names[task], devices[placement[task]], start, start + found.seconds[task])
        for task, start in enumerate(found.starts)
    ]
    transfers = []
    for task, target in sent(instance, placement):
        source = placement[task]
        start = found.sends.get((task, target), runs[task].end)
        end = start + instance.delay[task][source][target]
        transfers.append(Transfer(names[task], devices[source], devices[target], start, end))
    return Pipelining(
        placement={run.task: run.device for run in runs},
        period=found.period,
        latency=found.latency,
        bound=found.period if found.period <= bound * (1 + ROUNDING) else bound,
        limit=state.limit,
        method=method,
        runs=tuple(sorted(runs, key=lambda run: (run.start, run.end))),
        transfers=tuple(sorted(transfers, key=lambda each: (each.start, each.end))),
    )


def _best(instance: Instance, found: list[tuple[str, Placement]]) -> tuple[str, Placement, Steady]:
    """The first of those that no other is better than, with its method."""
    states = [(name, each, reached(instance, each, steady(instance, each))) for name, each in found]
    best = states[0]
    for each in states[1:]:
        if is_better(each[2], best[2]):
            best = each
    return best


def recurrence_bound(instance: Instance) -> float:
    """The longest that a task which carries its own result takes, where it is fastest."""
    own = (
        min(instance.seconds[task][device] for device in instance.domain(task))
        for task, carries in enumerate(instance.carries)
        if task in carries
    )
    return max(own, default=0.0)


def _packed(instance: Instance) -> Placement:
    """The longest task first, each to the device that is then the least loaded; in a dead end, anywhere."""
    places, loads, placement = Places(instance), [0.0] * instance.devices, [0] * instance.count
    order = sorted(range(instance.count), key=lambda task: -min(instance.seconds[task]))
    for task in order:
        devices = places.of(task) or instance.domain(task)
        device = min(devices, key=lambda each: loads[each] + instance.seconds[task][each])
        places.put(task, device)
        placement[task] = device
        loads[device] += instance.seconds[task][device]
    return placement


def _improved(
    instance: Instance, placement: Placement, state: Steady, bound: float, seed: int, until: float
) -> tuple[Placement, Steady]:
    """Simulated annealing over placements, on the period; the best of all that were tried."""
    random = Random(seed)
    mover, best, found = Mover(instance, random), placement, state
    now, period, schedules = placement, state.period, _SCHEDULES
    tries = max(400, min(4_000, _TRIES // (instance.count * instance.devices)))
    for turn in itertools.count():
        if turn == tries or time.monotonic() > until or found.period <= bound * (1 + ROUNDING):
            break
        moved = mover.replaced(now)
        if moved is None:
            continue
        temperature = _HOT * found.period * math.exp(math.log(_COLD / _HOT) * turn / tries)
        limit = period - temperature * math.log(1 - random.random())
        tried = steady(instance, moved, limit)
        if tried.period <= limit and tried.period < NEVER:
            now, period = moved, tried.period
            if is_better(tried, found) and schedules:
                schedules -= is_entangled(instance)
                tried = reached(instance, moved, tried)
                if is_better(tried, found):
                    best, found = moved, tried
    return best, found
