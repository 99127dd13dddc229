"""A stream of inputs on the cores of one CPU: one program on all, a pipeline over them, or copies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparsegen.devices import Machine
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.costs.costs import Costs, cost_operators
from sparsegen.hetero.costs.mixing import mixed_costs
from sparsegen.hetero.costs.together import beside_each_other
from sparsegen.hetero.operators.application_graph import CarriedGraph
from sparsegen.hetero.operators.cut import Granularity, operators
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.plans.placing import Subject, plan_of
from sparsegen.hetero.plans.plan import Goal, Plan
from sparsegen.hetero.plans.posing import Posed, pose
from sparsegen.hetero.plans.rivals import seconds_by_others, seconds_without
from sparsegen.hetero.problem.problem import Pipelining, Schedule
from sparsegen.hetero.solver.bounds import ROUNDING
from sparsegen.hetero.solver.solve import solve
from sparsegen.hetero.solver.throughput import better, rivals
from sparsegen.progress import Listener
from sparsegen.runtime.model import CompiledModel

ONE_CORE, ALL_CORES = "one core", "one program on all cores"
PIPELINE, COPIES = "a pipeline over the cores", "a copy on each core"
TOGETHER, APART = "cores together as one device", "each core a device"


@dataclass(frozen=True, eq=False)
class Planned:
    """A plan, the machine that it is for, and what the operators cost there, where they were placed.

    compiled: the program of a plan of stages, where it was compiled to be measured.
    """

    plan: Plan
    machine: Machine
    costs: Costs | None = None
    compiled: CompiledModel | None = None

    def beside(self, others: Mapping[str, float], reasons: Mapping[str, str] | None = None) -> Planned:
        """The same; the seconds of other plans are among the plan's alternatives, too, with reasons of some.

        Where one is faster, the plan is not optimal, and no bound is above that one.
        """
        plan = self.plan
        known = {**(plan.alternatives or {}), **others}
        least = min(others.values(), default=math.inf)
        value = plan.period if plan.goal == "throughput" else plan.makespan
        told = {**(plan.reasons or {}), **(reasons or {})}
        return replace(
            self,
            plan=replace(
                plan,
                alternatives=known,
                reasons=told or None,
                bound=min(plan.bound, least),
                optimal=plan.optimal and value <= least * (1 + ROUNDING),
            ),
        )


@dataclass(frozen=True, eq=False)
class _Asked:
    """What the solver is asked of a machine."""

    machine: Machine
    pieces: tuple[Operator, ...]
    costs: Costs
    posed: Posed


@dataclass(frozen=True, eq=False)
class Planner:
    """Plans a graph, with these inputs, for machines; the other fields are as in `api.plan`."""

    whole: CarriedGraph
    inputs: Sequence[Any]
    granularity: Granularity
    subject: Subject
    cache: CostCache
    measure: bool = True
    listen: Listener | None = None

    def best(self, machine: Machine, goal: Goal) -> Planned:
        """The solver's plan for a machine; that of whole blocks where it is better than that of layers.

        The solver starts a device for each operator that reads from elsewhere, a plan once for several in a
        row: so it may pass by a plan that blocks, which are started once, lead to.
        """
        found = self._best(machine, goal)
        starts = (each.profile.invocation_overhead.value for each in machine.devices if each.profile)
        if self.granularity != "layer" or not any(starts):
            return found
        return _better(found, replace(self, granularity="block")._best(machine, goal))

    def _best(self, machine: Machine, goal: Goal) -> Planned:
        asked = self._asked(machine)
        problem = asked.posed.problem
        if goal == "latency":
            found = self._planned(asked, solve(problem, goal, listen=self.listen))
        else:
            alone, copied = rivals(problem, listen=self.listen)
            best = better(problem, alone, copied)
            found = self._planned(asked, best).beside(_other(best, alone, copied))
        return found.beside(seconds_without(problem, found.plan) | seconds_by_others(asked.costs, found.plan))

    def costs(self, machine: Machine) -> Costs:
        """What the operators cost on a machine."""
        return self._asked(machine).costs

    def streams(self, machine: Machine, split: Machine) -> dict[str, Planned]:
        """The plans for a stream on one CPU, which is `split` into its cores, by what they are.

        Copies are missing where a state is carried from input to input.
        """
        first = Machine(split.devices[:1], (), split.devices[0].name)
        found = {
            ONE_CORE: self.best(first, "throughput"),
            ALL_CORES: self.best(machine, "throughput"),
        }
        asked = self._asked(split)
        pipeline, copies = rivals(asked.posed.problem, listen=self.listen)
        found[PIPELINE] = self._planned(asked, pipeline)
        if copies is not None:
            found[COPIES] = self._planned(asked, copies)
        # They are rivals of each other, and of nothing else.
        return {
            name: replace(each, plan=replace(each.plan, alternatives=None)) for name, each in found.items()
        }

    def _asked(self, machine: Machine) -> _Asked:
        graph, whole = self.whole.graph, self.whole
        given = (*self.inputs, *(whole.initial[name] for name in graph.inputs if name in whole.carried))
        pieces = operators(graph, self.granularity, carried=whole.carried)
        costs = cost_operators(
            graph, pieces, machine, given, cache=self.cache, measure=self.measure, listen=self.listen
        )
        if self.measure:
            costs = mixed_costs(graph, pieces, costs, machine, given, cache=self.cache, listen=self.listen)
            costs = beside_each_other(graph, costs, machine, given, self.cache)
        return _Asked(machine, pieces, costs, pose(whole, pieces, costs, machine))

    def _planned(self, asked: _Asked, answer: Schedule | Pipelining) -> Planned:
        plan = plan_of(asked.posed, answer, asked.pieces, asked.costs, asked.machine, self.subject)
        return Planned(plan, asked.machine, asked.costs)


def best_stream(found: Mapping[str, Planned]) -> Planned:
    """The plan of the shortest period; the periods of the others are among its alternatives."""
    name = min(found, key=lambda each: found[each].plan.period)
    return found[name].beside({each: p.plan.period for each, p in found.items() if each != name})


def _better(found: Planned, blocks: Planned) -> Planned:
    """The better of a plan of layers and one of blocks, with what is known of plans of layers."""
    value, other = (
        each.plan.period if each.plan.goal == "throughput" else each.plan.makespan for each in (found, blocks)
    )
    if other >= value * (1 - ROUNDING):
        return found
    bound = min(found.plan.bound, other)
    plan = replace(blocks.plan, bound=bound, optimal=other <= bound * (1 + ROUNDING))
    told = {**(found.plan.alternatives or {}), "layer by layer": value}
    return replace(found, plan=replace(plan, alternatives=None)).beside(told)


def _other(best: Pipelining, alone: Pipelining, copied: Pipelining | None) -> dict[str, float]:
    """The period of the solver's plan that was not taken: with copies, or without."""
    if copied is None:
        return {}
    return {"without copies": alone.period} if len(best.replicas) > 1 else {"copies": copied.period}
