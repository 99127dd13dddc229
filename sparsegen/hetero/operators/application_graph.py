"""An application as one layer graph, so that its modules can be cut, placed and compiled layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree

from sparsegen.errors import ModelError
from sparsegen.frontend import from_torch
from sparsegen.graph import FLOAT32, LayerGraph
from sparsegen.hetero.operators.application import Application
from sparsegen.options import Fallback
from sparsegen.runtime.results import arrange_results


@dataclass(frozen=True, eq=False)
class CarriedGraph:
    """A layer graph with loop-carried state.

    carried: by state, which is an input of the graph, the output that it is for the next input. results: how
    many of the outputs are the application's own, the first ones; the others are states. initial: the states'
    values for the first input. returned: the values that a call of the application gives, in order; None for
    a model, whose outputs they are.
    """

    graph: LayerGraph
    carried: Mapping[str, str]
    results: int
    initial: Mapping[str, Tensor] = field(default_factory=dict)
    returned: tuple[str, ...] | None = None

    @staticmethod
    def of(graph: LayerGraph | CarriedGraph) -> CarriedGraph:
        """A graph without state as one with none."""
        return graph if isinstance(graph, CarriedGraph) else CarriedGraph(graph, {}, len(graph.outputs))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Those of a call, in order: the graph's without the states."""
        return tuple(name for name in self.graph.inputs if name not in self.carried)

    @property
    def results_read(self) -> tuple[str, ...]:
        """The graph's values that a call gives, each once."""
        return tuple(dict.fromkeys(self.graph.outputs if self.returned is None else self.returned))

    def arranged(self, values: Mapping[str, Tensor]) -> Any:
        """What a call gives, of those values."""
        if self.returned is None:
            outputs = [values[name] for name in self.graph.outputs]
            return arrange_results(outputs, self.graph.known_outputs, self.graph.output_spec)
        results = tuple(values[name] for name in self.returned)
        return results[0] if len(results) == 1 else results


def joined(application: Application, *, fallback: Fallback = "torch") -> CarriedGraph:
    """The layers of all modules, by the operator's name and their own: "encoder.features.conv".

    The graph's inputs are the application's, and then its states.

    Raises ModelError for an operator that is no module of torch's or that the frontend cannot take, and for
    one with a result that does not depend on its inputs and that others read; and as
    `Application.operators` does.
    """
    application.operators()
    inputs = {form.name: form for form in application.inputs}
    states = {name: application.value(name).form for name in application.initial}
    whole = LayerGraph(
        inputs={name: form.shape for name, form in (inputs | states).items()},
        layers=[],
        outputs=(),
        input_dtypes={n: form.dtype for n, form in (inputs | states).items() if form.dtype != FLOAT32},
    )
    names = {name: name for name in whole.inputs}  # of the graph's values, by the application's
    for name in application.modules:
        _append(application, name, whole, names, fallback)
    wanted = [*application.results, *application.feeds.values()]
    missing = next((name for name in wanted if name not in names), None)
    if missing is not None:
        raise ModelError(
            f"{missing!r} does not depend on its operator's inputs: return it in place of adding it"
        )
    outputs = tuple(dict.fromkeys(names[name] for name in wanted))
    results = len({names[name] for name in application.results})
    graph = replace(whole, outputs=outputs, output_spec=_pytree.tree_structure(outputs))
    return CarriedGraph(
        graph,
        carried={state: names[source] for state, source in application.feeds.items()},
        results=results,
        initial=dict(application.initial),
        returned=tuple(names[name] for name in application.results),
    )


def _append(
    application: Application, name: str, whole: LayerGraph, names: dict[str, str], fallback: Fallback
) -> None:
    """Append the layers of an operator's module, and name its results' values."""
    operator, reads = application.modules[name], application.reads[name]
    if not isinstance(operator.module, nn.Module):
        raise ModelError(f"operator {name!r} is no torch module: it can only be placed whole")
    missing = next((read for read in reads if read not in names), None)
    if missing is not None:
        raise ModelError(f"{name!r} reads {missing!r}, which does not depend on its operator's inputs")
    part = from_torch(operator.module, operator.example_inputs, fallback=fallback)
    own = {each: f"{name}.{each}" for each in (*(layer.name for layer in part.layers), *part.constants)}
    own.update(zip(part.inputs, (names[read] for read in reads), strict=True))
    whole.layers.extend(replace(layer.renamed(own), name=own[layer.name]) for layer in part.layers)
    whole.constants.update((own[each], array) for each, array in part.constants.items())
    made = iter(part.outputs)
    for place, form in enumerate(operator.outputs):
        if place not in part.known_outputs:
            names[form.name] = own[next(made)]
