"""A plan with what computes it: called as the model is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from sparsegen.compiler import compile_graph, compile_plan, default_plan
from sparsegen.devices import Device, Machine, check_present
from sparsegen.errors import InputError, PlanError
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.costs.measure import on_cores
from sparsegen.hetero.costs.outside import runner_there
from sparsegen.hetero.operators.application_graph import CarriedGraph
from sparsegen.hetero.operators.cut import value_forms
from sparsegen.hetero.operators.fingerprint import model_fingerprint
from sparsegen.hetero.plans.check import check_plan
from sparsegen.hetero.plans.check_devices import devices_of
from sparsegen.hetero.plans.check_model import Parts, check_reads, parts_of
from sparsegen.hetero.plans.events import Timeline
from sparsegen.hetero.plans.plan import EMULATED, MIXED, OURS, TORCH, Plan, PlannedOperator
from sparsegen.hetero.plans.streams import Planned
from sparsegen.hetero.running.emulation import Emulated
from sparsegen.hetero.running.executor import Executor
from sparsegen.hetero.running.runners import Runner
from sparsegen.hetero.stages.staged_plan import stages_of
from sparsegen.kernels.torch_own import given_to_torch
from sparsegen.runtime.arguments import leaves_of
from sparsegen.runtime.inputs import InputForm, checked_inputs
from sparsegen.runtime.model import CompiledModel
from sparsegen.target import parse_target
from sparsegen.torch_graph.graph import TorchGraph
from sparsegen.typed import typed

Values = Mapping[str, torch.Tensor]
"""What segments hand on: tensors by the names of the graph's values, and of the states that they are next."""


class PlannedModel:
    """A model or an application that runs by a plan, called as that is; `map` streams inputs through it.

    The states of an application go on from input to input, over calls and streams, until an input fails, a
    stream is left early, or `reset` is called. Close it, or use it as a context manager: its threads end
    then. `machine` is what the plan was made for, whose devices have to be those that it names; None: those,
    made of what it says of them. `costs` are those that the plan was made with, where operators were placed;
    `compiled` is the program of a plan of stages on cores, compiled here where it is not given. limit_s: what
    an operator takes longer for has hung.

    Raises PlanError for an unsound plan, and for one of another model, CPU or machine; DeviceError for
    devices that are not here; and SparsegenError for what cannot be compiled here.
    """

    @typed
    def __init__(
        self,
        plan: Plan,
        graph: LayerGraph | CarriedGraph,
        machine: Machine | None = None,
        *,
        compiled: CompiledModel | None = None,
        costs: Costs | None = None,
        limit_s: float = 60.0,
    ) -> None:
        whole = CarriedGraph.of(graph)
        fingerprint = model_fingerprint(whole.graph, whole.carried)
        if plan.fingerprint != fingerprint:
            raise PlanError(
                f"the plan is for a model {plan.model!r} of another graph (digest {plan.fingerprint[:8]}, "
                f"this one has {fingerprint[:8]}): make a plan of this model"
            )
        check_machine(plan)
        check_plan(plan)
        devices = devices_of(plan)
        check_present(devices.values())
        if machine is not None:
            _check_devices(devices, machine)
        self.plan = plan
        if plan.form == "stages" and compiled is None and plan.operators[0].implementation == OURS:
            compiled = _in_stages(plan, whole, devices)
        self.compiled, self.costs = compiled, costs
        self._whole, self._forms = whole, _forms(whole)
        self._executor: Executor | None = None
        if compiled is None:
            parts = parts_of(plan, whole)
            self._executor = Executor(
                plan,
                {each.name: _runner(each, plan, whole, parts, devices) for each in plan.operators},
                outputs=[plan.operators[-1].name],
                feeds={each.name: _feed(each.name, whole) for each in plan.operators},
                initial=_initial(plan, whole),
                limit_s=limit_s,
                record=True,
            )

    @classmethod
    def of(cls, found: Planned, graph: LayerGraph | CarriedGraph) -> PlannedModel:
        """The graph by the plan that was found for it."""
        return cls(found.plan, graph, found.machine, compiled=found.compiled, costs=found.costs)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The model's result.

        Raises InputError for what the model does not take, before anything runs; else as `Executor.map` does.
        """
        if self._executor is None:
            assert self.compiled is not None
            return self.compiled(*inputs, **named)
        return self._executor(*self._leaves(inputs, named))

    def map(self, inputs: Iterable[Any]) -> Iterator[Any]:
        """The results of a stream of inputs, in order; an input of several tensors is a tuple.

        Raises as a call does; for an input that the model does not take once the results before it came, an
        InputError with its number in the stream, `input`.
        """
        if not isinstance(inputs, Iterable):
            raise InputError(
                f"a {type(inputs).__name__} is no stream: give a list or another iterable of inputs"
            )
        tuples = (each if isinstance(each, tuple) else (each,) for each in inputs)
        if self._executor is None:
            return _numbered(lambda each: self(*each), tuples)
        return self._executor.map(_numbered(lambda each: self._leaves(each, {}), tuples))

    def reset(self) -> None:
        """Put every state back to its initial value."""
        if self._executor is not None:
            self._executor.reset()

    def timeline(self) -> Timeline | None:
        """What ran when, until now; None for a plan of stages on cores."""
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
        call = self._whole.graph.call
        if named or not (call is None or call.is_flat):
            inputs = leaves_of(call, inputs, named)
        names = self._whole.inputs
        if len(inputs) != len(names):
            raise InputError(f"{len(names)} inputs are needed, {', '.join(names)}; {len(inputs)} were given")
        return tuple(checked_inputs(inputs, self._forms))


def _numbered(take: Callable[[tuple[Any, ...]], Any], inputs: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    """What becomes of a stream of inputs; an InputError tells which of them it is of."""
    for number, each in enumerate(inputs):
        try:
            taken = take(each)
        except InputError as error:
            raise error.of_input(number) from error
        yield taken


def check_machine(plan: Plan) -> None:
    """Raise PlanError for a plan that was measured on another CPU."""
    here = parse_target().name
    if plan.machine not in ("", here):
        raise PlanError(f"the plan is for a CPU {plan.machine!r}, and this one is {here!r}: make a plan here")


def _check_devices(named: Mapping[str, Device], machine: Machine) -> None:
    """Raise PlanError where a machine's devices are not those that a plan names."""
    there = {each.name: each for each in machine.devices}
    for name, device in named.items():
        if name not in there:
            raise PlanError(
                f"the plan has a device {name!r}; the machine has {', '.join(there)}: make a plan for it"
            )
        if there[name] != device:
            raise PlanError(
                f"device {name!r} is a {device.kind} of other settings in the plan than the machine's, which "
                f"is a {there[name].kind}: make a plan for this machine, or leave the machine out"
            )


def _forms(whole: CarriedGraph) -> list[InputForm]:
    """What the inputs of a call have to be."""
    forms = value_forms(whole.graph)
    return [InputForm(name, forms[name].shape, getattr(torch, forms[name].dtype)) for name in whole.inputs]


def _runner(
    operator: PlannedOperator, plan: Plan, whole: CarriedGraph, parts: Parts, devices: Mapping[str, Device]
) -> Runner:
    """What computes an operator of a plan: its part of the model's graph, on its device.

    It takes and gives values by name; with a value that a state is next, that state. Raises SparsegenError
    where it cannot be compiled.
    """
    if operator.name not in parts:
        is_result = operator is plan.operators[-1]
        return _result(operator, whole) if is_result else _input(operator.name)
    part, device = parts[operator.name], devices[operator.device]
    compute = _computing(operator, part, device)
    place = torch.device("cuda", device.index or 0) if device.kind == "cuda" else torch.device("cpu")
    feeds = {state: source for state, source in whole.carried.items() if source in part.outputs}

    def run(*results: Values) -> Values:
        values = _values(operator, whole, results)
        given = [values[name].to(place) for name in part.inputs]
        found = dict(zip(part.outputs, compute(*given), strict=True))
        return found | {state: found[source] for state, source in feeds.items()}

    return run


def _computing(operator: PlannedOperator, part: LayerGraph, device: Device) -> Callable[..., Any]:
    """What computes the operator's part of the graph, of tensors on its device."""
    compute: Callable[..., Any]
    if operator.implementation in (OURS, MIXED):
        mixed = given_to_torch(part, operator.by_torch)
        program = on_cores(device.cores, lambda: compile_graph(mixed, threads=operator.threads))
        compute = _on_threads(program, operator.threads)
    elif operator.implementation == EMULATED:
        seconds = operator.end - operator.start  # more than its own where others slow it down
        compute = Emulated(compile_graph(part), seconds)
    elif device.kind == "cuda":
        compute = TorchGraph(part, torch.device("cuda", device.index or 0))
    elif operator.implementation == TORCH:
        compute = _on_threads(TorchGraph(part), operator.threads)
    else:
        compute = runner_there(device, part)
    return compute


def _in_stages(plan: Plan, whole: CarriedGraph, devices: Mapping[str, Device]) -> CompiledModel:
    """The program of a plan of stages, on its CPU's cores."""
    cores = devices[plan.operators[0].device].cores
    sequential = default_plan(whole.graph, len(cores))
    check_reads(plan, sequential.graph)
    return on_cores(cores, lambda: compile_plan(sequential.staged(stages_of(plan))))


def _values(operator: PlannedOperator, whole: CarriedGraph, results: Sequence[Values]) -> Values:
    """What an operator's reads gave for this input, and the states that what it carries gave for the last."""
    read, carried = results[: len(operator.reads)], results[len(operator.reads) :]
    now = {name: value for each in read for name, value in each.items() if name not in whole.carried}
    before = {name: value for each in carried for name, value in each.items() if name in whole.carried}
    return now | before


def _feed(operator: str, whole: CarriedGraph) -> list[int]:
    """The numbers of the inputs that an operator takes: those that stand for an input take that."""
    return [at for at, name in enumerate(whole.inputs) if name == operator]


def _initial(plan: Plan, whole: CarriedGraph) -> dict[str, Values]:
    """By operator, the states that its results are for the first input."""
    owner = {layer: each.name for each in plan.operators for layer in each.layers}
    found: dict[str, dict[str, torch.Tensor]] = {}
    for state, source in whole.carried.items():
        found.setdefault(owner[source], {})[state] = whole.initial[state]
    return dict(found)


def _on_threads(compute: Callable[..., Any], threads: int) -> Callable[..., Any]:
    """The same, torch's own operators in it on so many threads of the thread that calls it.

    More threads than there are cores wait for each other: some milliseconds for each of torch's operators.
    """

    def run(*inputs: torch.Tensor) -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return compute(*inputs)

    return run


def _input(name: str) -> Runner:
    return lambda value: {name: value}


def _result(operator: PlannedOperator, whole: CarriedGraph) -> Runner:
    kept = {*whole.graph.inputs, *whole.carried.values()}  # the caller may write into the results

    def run(*results: Values) -> Any:
        values = _values(operator, whole, results)
        own = {name: value.clone() if name in kept else value.cpu() for name, value in values.items()}
        return whole.arranged({name: value.cpu() for name, value in own.items()})

    return run
