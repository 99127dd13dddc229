"""What holds for every problem, whatever its size: rivals, bounds, and what more links and devices do."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.hetero import solve
from sparsegen.hetero.problem.problem import Link, Problem
from sparsegen.hetero.solver.bounds import tails
from sparsegen.hetero.solver.greedy import blocks, greedy, singles
from sparsegen.hetero.solver.heft import by_rank, heft
from sparsegen.hetero.solver.instance import Instance
from sparsegen.hetero.solver.local_search import improve
from tests.hetero.checker import check_schedule
from tests.hetero.problems import chain_problem, random_problem
from tests.sampling import examples

SEEDS = st.integers(0, 10**6)
ANY = st.builds(
    random_problem,
    SEEDS,
    tasks=st.integers(1, 14),
    devices=st.integers(1, 4),
    density=st.sampled_from([0.1, 0.3, 0.6]),
    exclusive=st.sampled_from([0.0, 0.0, 0.5]),
    extras=st.booleans(),
)
SMALL = st.builds(random_problem, SEEDS, tasks=st.integers(2, 7), exclusive=st.sampled_from([0.0, 0.4]))
CLOSE = 1 + 1e-9


@examples(15)
@given(ANY)
def test_it_is_sound_and_no_rival_is_better(problem: Problem) -> None:
    schedule = solve(problem, limit_seconds=2)
    check_schedule(problem, schedule)
    instance = Instance(problem)
    rivals = [heft(instance), greedy(instance), *singles(instance), blocks(instance, by_rank(instance))]
    for rival in rivals:
        if rival is not None:
            timeline = rival.timeline(instance)
            check_schedule(problem, timeline.schedule(0.0, optimal=False, method=rival.method))
            assert schedule.makespan <= timeline.makespan()


@examples(10)
@given(ANY)
def test_neither_the_critical_path_nor_the_work_is_undercut(problem: Problem) -> None:
    schedule = solve(problem, limit_seconds=2)
    least = {task.name: min(task.times.values()) for task in problem.tasks}
    graph = nx.DiGraph()
    graph.add_nodes_from(least)
    graph.add_edges_from((read, task.name) for task in problem.tasks for read in task.reads)
    path = (
        max(
            sum(least[name] for name in way)
            for source in graph
            if not graph.in_degree(source)
            for target in graph
            if not graph.out_degree(target)
            for way in nx.all_simple_paths(graph, source, target)
        )
        if any(graph.out_degree(name) for name in graph)
        else 0.0
    )
    path = max(path, *least.values())
    assert schedule.bound * CLOSE >= path
    assert schedule.makespan * CLOSE >= sum(least.values()) / len(problem.devices)


@examples(15)
@given(SMALL, st.data())
def test_a_faster_link_never_makes_the_optimum_worse(problem: Problem, data: st.DataObject) -> None:
    if not problem.links:
        return
    place = data.draw(st.integers(0, len(problem.links) - 1))
    link = problem.links[place]
    faster = replace(link, latency=link.latency / 2, bandwidth=3 * link.bandwidth, exclusive=False)
    links = (*problem.links[:place], faster, *problem.links[place + 1 :])
    before, after = solve(problem), solve(replace(problem, links=links))
    assert before.optimal
    assert after.makespan <= before.makespan * CLOSE


@examples(15)
@given(SMALL)
def test_one_device_more_never_makes_the_optimum_worse(problem: Problem) -> None:
    first, *others = problem.devices
    tasks = (replace(task, times={**task.times, "z": task.times[first]}) for task in problem.tasks)
    links = [Link(a, b, 1e-4, 1e9) for name in others for a, b in ((name, "z"), ("z", name))]
    more = Problem((*problem.devices, "z"), tuple(tasks), (*problem.links, *links))
    before, after = solve(problem), solve(more)
    assert after.optimal
    assert after.makespan <= before.makespan * CLOSE


@examples(15)
@given(SEEDS, st.integers(2, 9))
def test_without_links_it_is_the_best_device_alone(seed: int, tasks: int) -> None:
    problem = replace(chain_problem(seed, tasks=tasks), links=())
    schedule = solve(problem)
    alone = [
        sum(task.times[device] for task in problem.tasks)
        for device in problem.devices
        if all(device in task.times for task in problem.tasks)
    ]
    assert abs(schedule.makespan - min(alone)) < 1e-12
    assert not schedule.transfers


@examples(8)
@given(st.builds(random_problem, SEEDS, tasks=st.integers(5, 40), extras=st.booleans()))
def test_the_local_search_times_as_the_timeline_does(problem: Problem) -> None:
    instance = Instance(problem)
    (start, *_) = singles(instance)
    found = improve(instance, start, tails(instance), bound=0.0, work=20_000)
    again = improve(instance, start, tails(instance), bound=0.0, work=20_000)
    assert found == again
    check_schedule(problem, found.timeline(instance).schedule(0.0, optimal=False, method=found.method))
    assert found.timeline(instance).makespan() <= start.timeline(instance).makespan()
