"""A stream of inputs on the cores of one CPU: one program on all, a pipeline over them, or copies."""

from __future__ import annotations

from collections.abc import Sequence
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
from sparsegen.hetero.problem.problem import Pipelining, Schedule
from sparsegen.hetero.solver.solve import solve
from sparsegen.hetero.solver.throughput import rivals
from sparsegen.progress import Listener
from sparsegen.runtime.model import CompiledModel

ONE_CORE, ALL_CORES = "one core", "one program on all cores"
PIPELINE, COPIES = "a pipeline over the cores", "a copy on each core"


@dataclass(frozen=True, eq=False)
class Planned:
    """A plan, the machine that it is for, and what the operators cost there, where they were placed.

    compiled: the program of a plan of stages, where it was compiled to be measured.
    """

    plan: Plan
    machine: Machine
    costs: Costs | None = None
    compiled: CompiledModel | None = None


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
        """The solver's plan for a machine."""
        asked = self._asked(machine)
        return self._planned(asked, solve(asked.posed.problem, goal, listen=self.listen))

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
        return found

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


def best_stream(found: dict[str, Planned]) -> Planned:
    """The plan of the shortest period; its alternatives are those of the others."""
    name = min(found, key=lambda each: found[each].plan.period)
    best = found[name]
    others = {each: planned.plan.period for each, planned in found.items() if each != name}
    return replace(best, plan=replace(best.plan, alternatives=others))
