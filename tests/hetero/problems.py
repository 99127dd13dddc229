"""Random scheduling problems, seeded, with all that `Task`, `Link` and `Store` may have."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from sparsegen.hetero.problem.problem import Link, Problem, Store, Task


def random_problem(
    seed: int,
    *,
    tasks: int = 8,
    devices: int = 3,
    density: float = 0.35,
    exclusive: float = 0.0,
    missing: float = 0.1,
    extras: bool = False,
) -> Problem:
    """A problem that has a solution: the first device runs everything.

    density: of edges. exclusive, missing: shares of links. extras: invocations, weights, stores and groups.
    """
    random = Random(f"{seed} {tasks} {devices}")
    names = tuple("abcdefgh"[:devices])
    links = tuple(
        Link(a, b, random.choice([0.0, 1e-4, 1e-3]), random.uniform(0.5e9, 2e9), random.random() < exclusive)
        for a in names
        for b in names
        if a != b and random.random() >= missing
    )
    stores = {}
    if extras:
        stores = {
            name: Store(random.choice([None, 700 * tasks]), random.choice([None, 200 * tasks]), 3e5)
            for name in names[1:]
        }
    found = []
    for number in range(tasks):
        near = range(max(0, number - 6), number)
        reads = tuple(f"t{other}" for other in near if random.random() < density)
        times = {name: random.uniform(1, 10) * 1e-3 for name in names if random.random() < 0.9}
        found.append(
            Task(
                f"t{number}",
                reads,
                random.choice([0, 10**5, 10**6, 5 * 10**6]),
                {names[0]: random.uniform(2, 10) * 1e-3} | times,
                invocation={name: random.choice([0.0, 2e-3]) for name in names} if extras else {},
                weights=random.randrange(1000) if extras else 0,
                group=random.choice(["", "", "", "g", "h"]) if extras else "",
            )
        )
    return Problem(names, tuple(found), links, stores)


def on_buses(problem: Problem, seed: int) -> Problem:
    """Some devices have a bus: all links from and to them share it."""
    random = Random(seed)
    owners = {name for name in problem.devices if random.random() < 0.6} or {problem.devices[-1]}
    links = (
        replace(link, exclusive=False, buses=tuple(sorted(owners & {link.source, link.target})))
        for link in problem.links
    )
    return replace(problem, links=tuple(links))


def chain_problem(seed: int, *, tasks: int = 8, devices: int = 3, missing: float = 0.2) -> Problem:
    """Each task reads the one before it."""
    problem = random_problem(seed, tasks=tasks, devices=devices, missing=missing)
    chained = [
        replace(task, reads=(f"t{number - 1}",) if number else ())
        for number, task in enumerate(problem.tasks)
    ]
    return replace(problem, tasks=tuple(chained))
