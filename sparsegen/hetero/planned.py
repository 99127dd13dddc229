"""A plan with what computes it: called as the model is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from sparsegen.compiler import compile_graph
from sparsegen.devices import Machine, kind_of
from sparsegen.errors import PlanError
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs import EMULATED, OURS, TORCH, Costs
from sparsegen.hetero.cut import part_of
from sparsegen.hetero.emulation import Emulated
from sparsegen.hetero.events import Timeline
from sparsegen.hetero.executor import Executor
from sparsegen.hetero.fingerprint import model_fingerprint
from sparsegen.hetero.measure import on_cores
from sparsegen.hetero.plan import Plan, PlannedOperator
from sparsegen.hetero.runners import Runner
from sparsegen.hetero.torch_graph import TorchGraph
from sparsegen.runtime.arguments import leaves_of
from sparsegen.runtime.model import CompiledModel
from sparsegen.runtime.results import arrange_results

Values = Mapping[str, torch.Tensor]
"""What segments hand on: tensors by the names of the graph's values."""


class PlannedModel:
    """A model that runs by a plan, called as the model is; `map` streams inputs through it.

    Close it, or use it as a context manager: its threads end then. `compiled` is the program of a plan of
    stages, which needs no threads of its own; `costs` are those that the plan was made with, where operators
    were placed.

    Raises PlanError for a plan of another model.
    """

    def __init__(
        self,
        plan: Plan,
        graph: LayerGraph,
        machine: Machine,
        *,
        compiled: CompiledModel | None = None,
        costs: Costs | None = None,
        limit_s: float = 60.0,
    ) -> None:
        fingerprint = model_fingerprint(graph)
        if plan.fingerprint != fingerprint:
            raise PlanError(
                f"the plan is for a model {plan.model!r} of another graph (digest {plan.fingerprint[:8]}, "
                f"this one has {fingerprint[:8]}): make a plan of this model"
            )
        self.plan = plan
        self.compiled, self.costs = compiled, costs
        self._graph = graph
        self._executor: Executor | None = None
        if compiled is None:
            self._executor = Executor(
                plan,
                {each.name: runner_of(each, plan, graph, machine) for each in plan.operators},
                outputs=[plan.operators[-1].name],
                feeds={name: [at] for at, name in enumerate(graph.inputs)},
                limit_s=limit_s,
                record=True,
            )

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The model's result. Raises as a compiled model's call and `Executor.map` do."""
        if self._executor is None:
            assert self.compiled is not None
            return self.compiled(*inputs, **named)
        return self._executor(*self._leaves(inputs, named))

    def map(self, inputs: Iterable[Any]) -> Iterator[Any]:
        """The results of a stream of inputs, in order; an input of several tensors is a tuple."""
        if self._executor is None:
            return (self(*(each if isinstance(each, tuple) else (each,))) for each in inputs)
        tuples = (each if isinstance(each, tuple) else (each,) for each in inputs)
        return self._executor.map(self._leaves(each, {}) for each in tuples)

    def timeline(self) -> Timeline | None:
        """What ran when, until now; None for a plan of stages."""
        return None if self._executor is None else self._executor.timeline()

    def close(self) -> None:
        """End the threads that run the plan."""
        if self._executor is not None:
            self._executor.close()

    def __enter__(self) -> PlannedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _leaves(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, ...]:
        call = self._graph.call
        if named or not (call is None or call.is_flat):
            return tuple(leaves_of(call, inputs, named))
        return tuple(inputs)


def runner_of(operator: PlannedOperator, plan: Plan, graph: LayerGraph, machine: Machine) -> Runner:
    """What computes an operator of a plan: of the model's graph, on its device.

    It takes and gives values by name. Raises SparsegenError where it cannot be compiled, or its device is not
    here.
    """
    if not operator.layers:
        return _result(graph) if operator is plan.operators[-1] else _input(operator.name)
    part = part_of(graph, operator.layers)
    device = machine.device(operator.device)
    compute: Callable[..., Any]
    if operator.implementation == OURS:
        compute = on_cores(device.cores, lambda: compile_graph(part, threads=len(device.cores)))
    elif operator.implementation == EMULATED:
        compute = Emulated(compile_graph(part), operator.seconds)
    elif device.kind == "cuda":
        compute = TorchGraph(part, torch.device("cuda", device.index or 0))
    elif operator.implementation == TORCH:
        compute = _on_threads(TorchGraph(part), len(device.cores))
    else:
        example = tuple(torch.zeros(shape) for shape in part.inputs.values())
        compute = kind_of(device).runner(device, TorchGraph(part), example)
    place = torch.device("cuda", device.index or 0) if device.kind == "cuda" else torch.device("cpu")

    def run(*results: Values) -> Values:
        values = {name: value for each in results for name, value in each.items()}
        given = [values[name].to(place) for name in part.inputs]
        return dict(zip(part.outputs, compute(*given), strict=True))

    return run


def _on_threads(graph: TorchGraph, threads: int) -> Callable[..., Any]:
    """A graph that torch computes, on so many threads of the thread that calls it."""

    def run(*inputs: torch.Tensor) -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return graph(*inputs)

    return run


def _input(name: str) -> Runner:
    return lambda value: {name: value}


def _result(graph: LayerGraph) -> Runner:
    def run(*results: Values) -> Any:
        values = {name: value.cpu() for each in results for name, value in each.items()}
        return arrange_results(
            [values[name] for name in graph.outputs], graph.known_outputs, graph.output_spec
        )

    return run
