"""Plans simulated and executed on emulated devices: makespans, periods, and how far they are apart.

    python -m bench.simulated [--inputs 30] [--rounds 5] [--scale 1.0] [--json FILE]

Every operator's time is its table's, so that what differs is what the executor itself takes, and how late the
system wakes its threads. Rounds of all plans take turns; medians are told. Errors are of the executor's times
over the simulator's. Kept in results/FAMILY/simulated.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.command import run
from sparsegen.compare.machine import describe_machine
from sparsegen.files import check_writable, write_file
from sparsegen.hetero.plans.events import Timeline
from sparsegen.hetero.plans.plan import Plan, PlanDevice, PlannedOperator, PlannedTransfer
from sparsegen.hetero.running.emulation import Emulated
from sparsegen.hetero.running.executor import Executor
from sparsegen.hetero.running.simulator import simulate
from sparsegen.noise import warn_of_noise
from sparsegen.target import parse_target

_MS = 1e-3
_BYTES = 1 << 16


@dataclass(frozen=True)
class Comparison:
    """A plan's makespan of one input alone and period of a stream, in milliseconds, simulated and executed.

    Executed ones are medians of rounds, all of which are kept. late: share of the calls in which computing
    itself took longer than the table says.
    """

    plan: str
    operators: int
    simulated_makespan_ms: float
    executed_makespan_ms: float
    simulated_period_ms: float
    executed_period_ms: float
    makespans_ms: tuple[float, ...]
    periods_ms: tuple[float, ...]
    late: float

    @property
    def errors(self) -> tuple[float, float]:
        """Of the makespan and of the period, over the simulated ones."""
        return (
            self.executed_makespan_ms / self.simulated_makespan_ms - 1,
            self.executed_period_ms / self.simulated_period_ms - 1,
        )


def plans(scale: float) -> Iterator[tuple[str, Plan]]:
    """Names and plans; operators take some milliseconds each, times `scale`."""

    def op(name: str, device: str, ms: float, reads: str = "", carries: str = "") -> PlannedOperator:
        seconds = ms * _MS * scale
        needs = tuple(reads.split()), tuple(carries.split())
        return PlannedOperator(name, *needs, (), _BYTES, device, "emulated", 1, seconds, "table", 0, seconds)

    chain = [op("a0", "a", 4), op("a1", "a", 6, "a0"), op("b0", "b", 5, "a1"), op("a2", "a", 3, "b0")]
    yield "chain, one input at a time", _plan(chain, 1 * _MS * scale, depth=1)
    diamond = [op("top", "a", 3), op("left", "a", 6, "top"), op("right", "b", 5, "top")]
    diamond.append(op("end", "a", 2, "left right"))
    yield "diamond, one input at a time", _plan(diamond, 1 * _MS * scale, depth=1)
    stages = [op("a0", "a", 5), op("b0", "b", 8, "a0"), op("c0", "c", 6, "b0")]
    yield "pipeline over 3 devices", _plan(stages, 1 * _MS * scale, depth=6)
    yield (
        "pipeline, exclusive links",
        _plan(
            [*stages[:2], op("a1", "a", 1, "a0"), op("c0", "c", 6, "b0 a1")], 2 * _MS * scale, exclusive=True
        ),
    )
    recurrence = [
        op("encode", "a", 5),
        op("decode", "b", 3, "encode", "adapt"),
        op("adapt", "a", 2, "decode"),
    ]
    yield "recurrence over 2 devices", _plan(recurrence, 1 * _MS * scale, depth=6)
    copied = [op("x0", "a", 5), op("x1", "a", 4, "x0")]
    yield "2 copies", _plan(copied, 0.0, depth=2, replicas=({}, {"a": "b"}))
    small = [op(f"o{n}", "abc"[n // 10], 0.3, f"o{n - 1}" if n else "") for n in range(30)]
    yield "30 operators of 0.3 ms", _plan(small, 0.1 * _MS * scale, depth=6)


def _plan(
    operators: Sequence[PlannedOperator],
    crossing: float,
    *,
    exclusive: bool = False,
    depth: int = 6,
    replicas: tuple[Mapping[str, str], ...] = ({},),
) -> Plan:
    """A plan with the times that the simulator gives it; transfers take `crossing` seconds."""
    placed = {each.name: each.device for each in operators}
    ways = {
        (name, placed[name], each.device): PlannedTransfer(
            name, placed[name], each.device, _BYTES, crossing, 0, crossing, exclusive
        )
        for each in operators
        for name in (*each.reads, *each.carries)
        if placed[name] != each.device
    }
    names = sorted({*placed.values(), *(name for each in replicas for name in each.values())})
    plan = Plan(
        goal="latency" if depth == 1 else "throughput",
        form="copies" if len(replicas) > 1 else "pipelined",
        model="emulated",
        fingerprint="",
        machine="",
        devices=tuple(PlanDevice(name, "profile", {}) for name in names),
        operators=tuple(operators),
        transfers=tuple(ways.values()),
        makespan=0.0,
        period=0.0,
        bound=0.0,
        optimal=False,
        method="by hand",
        depth=depth,
        replicas=replicas,
    )
    alone = simulate(plan, 1)
    began = {(each.operator, each.target): each.start for each in alone.events}
    return replace(
        plan,
        operators=tuple(_at(each, began[each.name, ""]) for each in plan.operators),
        transfers=tuple(_at(each, began[each.operator, each.target]) for each in plan.transfers),
        makespan=alone.makespan,
        period=simulate(plan, 60).period,
    )


def _at(entry: Any, start: float) -> Any:
    return replace(entry, start=start, end=start + entry.seconds)


def execute(plan: Plan, inputs: int) -> tuple[Timeline, float]:
    """A stream on emulated devices, and the share of its operators that were late."""
    runners = {each.name: Emulated(lambda *values: 0, each.seconds) for each in plan.operators}
    with Executor(plan, runners, record=True) as executor:
        for _ in executor.map(range(inputs)):
            pass
        calls = sum(each.calls for each in runners.values())
        return executor.timeline(), sum(each.late for each in runners.values()) / calls


def compare(inputs: int, rounds: int, scale: float) -> list[Comparison]:
    """Execute all plans in turn, round by round, beside their simulations."""
    chosen = dict(plans(scale))
    found: dict[str, list[tuple[Timeline, float]]] = {name: [] for name in chosen}
    alone: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(rounds):
        for name, plan in chosen.items():
            alone[name].append(execute(plan, 1)[0].makespan / _MS)
            found[name].append(execute(plan, inputs))
    told = []
    for name, plan in chosen.items():
        periods = tuple(timeline.period / _MS for timeline, _ in found[name])
        told.append(
            Comparison(
                name,
                len(plan.operators),
                plan.makespan / _MS,
                statistics.median(alone[name]),
                simulate(plan, inputs).period / _MS,
                statistics.median(periods),
                tuple(alone[name]),
                periods,
                statistics.mean(late for _, late in found[name]),
            )
        )
    return told


def main() -> None:
    """Read the arguments, compare, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--inputs", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.json is not None:
        check_writable("--json", asked.json)
    warn_of_noise()
    compared = compare(asked.inputs, asked.rounds, asked.scale)
    table = Table(title=f"milliseconds, medians of {asked.rounds}, streams of {asked.inputs} inputs")
    for heading in ("plan", "makespan\nsimulated", "\nexecuted", "\nerror", "period\nsimulated"):
        table.add_column(heading, justify="left" if heading == "plan" else "right")
    for heading in ("\nexecuted", "\nerror", "late"):
        table.add_column(heading, justify="right")
    for each in compared:
        makespan, period = each.errors
        table.add_row(
            each.plan,
            f"{each.simulated_makespan_ms:.2f}",
            f"{each.executed_makespan_ms:.2f}",
            f"{makespan:+.1%}",
            f"{each.simulated_period_ms:.2f}",
            f"{each.executed_period_ms:.2f}",
            f"{period:+.1%}",
            f"{each.late:.1%}",
        )
    Console(width=max(Console().width, 110)).print(table)
    worst = max(abs(error) for each in compared for error in each.errors)
    print(f"largest error: {worst:.1%}")
    if asked.json is not None:
        rows = [{**asdict(each), "errors": each.errors} for each in compared]
        settings = {"inputs": asked.inputs, "rounds": asked.rounds, "scale": asked.scale}
        record = {"machine": asdict(describe_machine(parse_target(), 1)), **settings, "plans": rows}
        write_file(asked.json, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
