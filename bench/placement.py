"""Gaps of placements to a lower bound, ours beside HEFT's, and the worst case of HEFT that a search finds.

    python -m bench.placement [--instances 5] [--operators 50] [--devices 3] [--steps 400] [--json FILE]

Random graphs of three kinds (layers, series-parallel, edges at random), whose transfers take a tenth of an
operator's time on average, as much, or ten times as much (the ratio of communication to computation, CCR). A
gap is the makespan over the lower bound, less 1. The worst case is searched for by simulated annealing over
times, bytes and edges of a problem of ten operators, whose optimum is known. All of it is computed: the
machine's speed does not count.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from statistics import mean

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.command import run
from sparsegen.files import check_writable, write_file
from sparsegen.hetero import solve
from sparsegen.hetero.problem.problem import Link, Problem, Task
from sparsegen.hetero.problem.problem_json import problem_record
from sparsegen.hetero.solver.heft import heft
from sparsegen.hetero.solver.instance import Instance
from sparsegen.options import check_count

CCRS = (0.1, 1.0, 10.0)
_SECONDS = 1e-3  # of an operator, on average
_BANDWIDTH = 1e9
_SEARCHED = 10  # operators of a worst case

Reads = list[list[int]]
"""The tasks that each task reads."""


@dataclass(frozen=True)
class Row:
    """Gaps to the lower bound of so many problems; `optimal` of them were proved, by us."""

    kind: str
    ccr: float
    problems: int
    optimal: int
    mean_gap: float
    worst_gap: float
    heft_mean_gap: float
    heft_worst_gap: float


@dataclass(frozen=True)
class Worst:
    """The problem with the largest ratio of HEFT's makespan to ours; `optimal` where ours is proved."""

    ratio: float
    heft: float
    ours: float
    optimal: bool
    problem: Problem


def layered(count: int, random: Random) -> Reads:
    """Layers of 1 to 8 tasks; each reads 1 to 3 of the layer before."""
    reads: Reads = []
    before: list[int] = []
    while len(reads) < count:
        layer = range(len(reads), min(count, len(reads) + random.randint(1, 8)))
        reads += [sorted(random.sample(before, min(len(before), random.randint(1, 3)))) for _ in layer]
        before = list(layer)
    return reads


def series_parallel(count: int, random: Random) -> Reads:
    """Edges of one edge are replaced by a chain or by branches, until there are enough tasks."""
    edges, tasks = [(0, 1)], 2
    while tasks < count:
        source, target = edges[random.randrange(len(edges))]
        if random.random() < 0.5:
            edges.remove((source, target))
        edges += [(source, tasks), (tasks, target)]
        tasks += 1
    order = _order(edges, tasks)
    place = {task: number for number, task in enumerate(order)}
    reads: Reads = [[] for _ in range(tasks)]
    for source, target in edges:
        reads[place[target]].append(place[source])
    return [sorted(set(each)) for each in reads]


def scattered(count: int, random: Random) -> Reads:
    """Each task reads any of the 10 before it with a chance of a fifth."""
    return [[u for u in range(max(0, v - 10), v) if random.random() < 0.2] for v in range(count)]


KINDS: dict[str, Callable[[int, Random], Reads]] = {
    "layers": layered,
    "series-parallel": series_parallel,
    "random edges": scattered,
}


def make(kind: str, ccr: float, operators: int, devices: int, seed: int) -> Problem:
    """A problem of unrelated devices, all linked."""
    random = Random(f"{kind} {ccr} {operators} {devices} {seed}")
    names = [f"d{number}" for number in range(devices)]
    size = 2 * ccr * _SECONDS * _BANDWIDTH
    tasks = [
        Task(
            f"t{number}",
            tuple(f"t{read}" for read in reads),
            int(random.uniform(0, size)),
            {name: random.uniform(0.1, 1.9) * _SECONDS for name in names},
        )
        for number, reads in enumerate(KINDS[kind](operators, random))
    ]
    links = [Link(a, b, 0.0, _BANDWIDTH) for a in names for b in names if a != b]
    return Problem(tuple(names), tuple(tasks), tuple(links))


def compare(kind: str, ccr: float, problems: Sequence[Problem]) -> Row:
    """Solve problems of one kind."""
    ours, theirs, optimal = [], [], 0
    for problem in problems:
        schedule = solve(problem)
        optimal += schedule.optimal
        ours.append(schedule.makespan / schedule.bound - 1)
        theirs.append(heft_makespan(problem) / schedule.bound - 1)
    return Row(kind, ccr, len(problems), optimal, mean(ours), max(ours), mean(theirs), max(theirs))


def heft_makespan(problem: Problem) -> float:
    """HEFT's schedule, moved to the earliest starts that its order allows."""
    instance = Instance(problem)
    candidate = heft(instance)
    assert candidate is not None  # every device runs everything, and all are linked
    return candidate.timeline(instance).makespan()


def worst_case(devices: int, steps: int, seed: int = 0) -> Worst:
    """Simulated annealing over the problem, for the largest ratio of HEFT's makespan to ours."""
    random = Random(seed)
    best = now = _judged(make("random edges", 1.0, _SEARCHED, devices, seed))
    for step in track(range(steps), "searching for HEFT's worst case", console=Console(stderr=True)):
        tried = _judged(_mutated(now.problem, random))
        heat = 0.2 * (1 - step / steps) + 1e-9
        if tried.ratio >= now.ratio or random.random() < math.exp((tried.ratio - now.ratio) / heat):
            now = tried
        if now.ratio > best.ratio:
            best = now
    return best


def table(rows: Sequence[Row]) -> Table:
    """A line a kind and CCR, gaps in per cent."""
    shown = Table(title="makespan over the lower bound, less 1")
    for heading in ("graphs", "CCR", "optimal", "mean", "worst", "HEFT, mean", "HEFT, worst"):
        shown.add_column(heading, justify="left" if heading == "graphs" else "right")
    for row in rows:
        gaps = (row.mean_gap, row.worst_gap, row.heft_mean_gap, row.heft_worst_gap)
        shown.add_row(
            row.kind, f"{row.ccr:g}", f"{row.optimal}/{row.problems}", *(f"{gap:.1%}" for gap in gaps)
        )
    return shown


def main() -> None:
    """Read the arguments, solve, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--instances", type=int, default=5, help="of each kind and CCR")
    parser.add_argument("--operators", type=int, default=50)
    parser.add_argument("--devices", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400, help="of the search for a worst case")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    for name, least in (("instances", 1), ("operators", 2), ("devices", 1), ("steps", 0)):
        check_count(f"--{name}", getattr(asked, name), least)
    if asked.json is not None:
        check_writable("--json", asked.json)
    settings = [(kind, ccr) for kind in KINDS for ccr in CCRS]
    rows = [
        compare(
            kind, ccr, [make(kind, ccr, asked.operators, asked.devices, n) for n in range(asked.instances)]
        )
        for kind, ccr in track(settings, "solving", console=Console(stderr=True))
    ]
    worst = worst_case(asked.devices, asked.steps)
    console = Console()
    console.print(f"{asked.operators} operators, {asked.devices} devices")
    console.print(table(rows))
    console.print(
        f"the worst of HEFT in {asked.steps} steps, on {_SEARCHED} operators: {worst.ratio:.2f}x ours, "
        f"which is {'optimal' if worst.optimal else 'not proved to be optimal'}",
        soft_wrap=True,
    )
    if asked.json is not None:
        record = {
            "operators": asked.operators,
            "devices": asked.devices,
            "rows": [asdict(row) for row in rows],
            "worst": {**vars(worst), "problem": problem_record(worst.problem)},
        }
        write_file(asked.json, json.dumps(record, indent=1) + "\n")


def _judged(problem: Problem) -> Worst:
    schedule, theirs = solve(problem), heft_makespan(problem)
    return Worst(theirs / schedule.makespan, theirs, schedule.makespan, schedule.optimal, problem)


def _mutated(problem: Problem, random: Random) -> Problem:
    """The problem with one time, one size or one edge changed."""
    tasks = list(problem.tasks)
    place = random.randrange(len(tasks))
    task, kind = tasks[place], random.random()
    if kind < 0.4:
        device = random.choice(problem.devices)
        time = min(max(task.times[device] * math.exp(random.gauss(0, 1)), 1e-6), 1.0)
        tasks[place] = replace(task, times={**task.times, device: time})
    elif kind < 0.7:
        tasks[place] = replace(task, bytes=min(int((task.bytes + 1e3) * math.exp(random.gauss(0, 1))), 10**9))
    elif place:
        reads = set(task.reads) ^ {tasks[random.randrange(place)].name}
        tasks[place] = replace(task, reads=tuple(sorted(reads)))
    return replace(problem, tasks=tuple(tasks))


def _order(edges: Sequence[tuple[int, int]], tasks: int) -> Iterator[int]:
    """Tasks so that each comes after all that it reads."""
    done: set[int] = set()
    while len(done) < tasks:
        for task in range(tasks):
            if task not in done and all(source in done for source, target in edges if target == task):
                done.add(task)
                yield task


if __name__ == "__main__":
    run(main)
