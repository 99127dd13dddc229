"""The plan of a model in stages: its units as operators of one CPU, when each runs."""

from __future__ import annotations

from collections.abc import Sequence

from sparsegen.devices import Device
from sparsegen.hetero.plans.placing import Subject
from sparsegen.hetero.plans.plan import OURS, Group, Plan, PlanDevice, PlannedOperator, Stage
from sparsegen.hetero.stages.search import FoundStage
from sparsegen.hetero.stages.staging import Staged
from sparsegen.hetero.stages.units import Unit
from sparsegen.kernels.stages import LayerGroup, LayerStage


def staged_plan(staged: Staged, device: Device, subject: Subject) -> Plan:
    """The plan of a model whose stages gain; see `staging.stage`."""
    units, cores = staged.units, len(device.cores)
    operators: list[PlannedOperator] = []
    stages: list[Stage] = []
    begin = 0.0
    for found in staged.found:
        timed = _timed(found, units, begin, staged.slowdown)
        for unit, (start, end, threads) in timed.items():
            operators.append(
                PlannedOperator(
                    name=_name(units[unit]),
                    reads=tuple(_name(units[each]) for each in units[unit].reads),
                    carries=(),
                    layers=units[unit].layers,
                    bytes=0,
                    device=device.name,
                    implementation=OURS,
                    threads=threads,
                    seconds=end - start,
                    origin="measured",
                    start=start,
                    end=end,
                    utilisation=threads / cores,
                )
            )
        last = max(end for _, end, _ in timed.values())
        groups = zip(found.groups, found.threads, strict=True)
        named = tuple(Group(tuple(_name(units[unit]) for unit in group), n) for group, n in groups)
        stages.append(Stage(named, last - begin))
        begin = last
    sequential = {f"{name}, {device.name}": staged.seconds[name] for name in ("sequential", "one thread")}
    return Plan(
        goal="latency",
        form="stages",
        model=subject.model,
        fingerprint=subject.fingerprint,
        machine=subject.machine,
        devices=(PlanDevice(device.name, device.kind, device.settings),),
        operators=tuple(sorted(operators, key=lambda each: each.start)),
        transfers=(),
        makespan=begin,
        period=begin,
        bound=0.0,
        optimal=False,
        method="stages",
        stages=tuple(stages),
        alternatives=sequential,
    )


def stages_of(plan: Plan) -> list[LayerStage]:
    """The stages of a plan of the form "stages", of layers."""
    layers = {each.name: each.layers for each in plan.operators}
    return [
        tuple(
            LayerGroup(tuple(layer for name in group.operators for layer in layers[name]), group.threads)
            for group in stage.groups
        )
        for stage in plan.stages
    ]


def _timed(
    found: FoundStage, units: Sequence[Unit], begin: float, slowdown: float
) -> dict[int, tuple[float, float, int]]:
    """Start, end and threads of each unit of a stage that begins at a time."""
    group_of = {unit: at for at, group in enumerate(found.groups) for unit in group}
    slower = slowdown if len(found.groups) > 1 else 1.0
    free = [begin] * len(found.groups)
    waiting = [list(group) for group in found.groups]
    timed: dict[int, tuple[float, float, int]] = {}
    while any(waiting):
        for at, group in enumerate(waiting):
            if not group:
                continue
            sources = [each for each in units[group[0]].reads if each in group_of]
            if any(each not in timed for each in sources):
                continue
            unit, threads = group.pop(0), found.threads[at]
            start = max([free[at], *(timed[each][1] for each in sources)])
            free[at] = start + units[unit].seconds[threads] * slower
            timed[unit] = start, free[at], threads
    return timed


def _name(unit: Unit) -> str:
    first, last = unit.layers[0], unit.layers[-1]
    return first if first == last else f"{first}..{last}"
