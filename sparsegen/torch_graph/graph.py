"""A layer graph that torch itself computes: the rival of our kernels on a CPU, and what runs on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsegen.errors import InputError, OutOfMemoryError, first_line, is_out_of_memory
from sparsegen.graph import Layer, LayerGraph, Linear, Recurrent, ValueForm
from sparsegen.runtime.arguments import leaves_of
from sparsegen.runtime.results import arrange_results, storages, unshared
from sparsegen.torch_graph.cores import MAKES_NEW, CoreFunction, core_function
from sparsegen.torch_graph.recurrent import recurrent_network
from sparsegen.torch_graph.steps import Operand, StepFunction, step_function


@dataclass(frozen=True, eq=False)
class _Call:
    """A layer as torch computes it. Operands that are text name values; nothing reads `frees` later."""

    name: str
    core: CoreFunction
    inputs: tuple[str, ...]
    steps: tuple[tuple[StepFunction, Operand | str], ...]
    frees: tuple[str, ...]

    def run(self, values: dict[str, Any]) -> Any:
        value = self.core(*[values[name] for name in self.inputs])
        for function, operand in self.steps:
            value = function(value, values[operand] if isinstance(operand, str) else operand)
        return value


class TorchGraph:
    """A layer graph as a module of torch's would compute it, on a device, in inference mode.

    Called as the model is that the graph was made of, with tensors on `device`, and gives what that gives, on
    the device. Weights are float32 tensors there, on the CPU those of the graph itself. Each value is freed
    after its last reader. Inputs are never written to, and results do not share their memory. Several threads
    may call it at once.

    forms: the inputs, in order.
    """

    def __init__(self, graph: LayerGraph, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.forms = tuple(
            ValueForm(name, shape, graph.input_dtype(name)) for name, shape in graph.inputs.items()
        )
        self._dtypes = tuple(getattr(torch, form.dtype) for form in self.forms)
        self._has_autocast = torch.amp.is_autocast_available(self.device.type)
        self._call_form = graph.call
        self._by_position = graph.call is None or graph.call.is_flat
        self._outputs, self._structure = graph.outputs, graph.output_spec
        self._known = {
            place: value.to(self.device) if isinstance(value, Tensor) else value
            for place, value in graph.known_outputs.items()
        }
        self._constants = {
            name: torch.from_numpy(array).to(self.device) for name, array in graph.constants.items()
        }
        self._calls = _calls(graph, self._constants, self.device)
        self._own = storages(
            [*self._constants.values(), *(each for each in self._known.values() if isinstance(each, Tensor))]
        )

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The model's result.

        Raises InputError for other inputs than the graph's and for values that torch's operators refuse, and
        OutOfMemoryError where the device has no memory left.
        """
        if named or not self._by_position:
            inputs = tuple(leaves_of(self._call_form, inputs, named))
        self._check(inputs)
        autocast = self._has_autocast and torch.is_autocast_enabled(self.device.type)
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, enabled=False) if autocast else nullcontext(),
        ):
            results = self._run(inputs)
            results = unshared(results, self._own | storages(inputs))
            return arrange_results(results, self._known, self._structure)

    def traced(self, inputs: Sequence[Tensor]) -> Any:
        """As a call, of inputs that are not looked at, where torch.export traces it."""
        return arrange_results(self._run(inputs), self._known, self._structure)

    def watched(self, see: Callable[[str, Any], None], *inputs: Tensor) -> None:
        """One call with these inputs that shows every layer's value, by its name, as soon as it is there.

        Nothing may be kept of a value but a copy. Raises as a call does.
        """
        self._check(inputs)

        def shown(call: _Call, values: dict[str, Any]) -> Any:
            result = call.run(values)
            see(call.name, result)
            return result

        with torch.inference_mode():
            self._run(inputs, shown)

    def layer_seconds(self, *inputs: Tensor) -> dict[str, float]:
        """Seconds of each layer in one call with these inputs. Raises as a call does."""
        self._check(inputs)
        seconds: dict[str, float] = {}

        def clocked(call: _Call, values: dict[str, Any]) -> Any:
            begun = time.perf_counter()
            result = call.run(values)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds[call.name] = time.perf_counter() - begun
            return result

        with torch.inference_mode():
            self._run(inputs, clocked)
        return seconds

    def _run(
        self, inputs: Sequence[Tensor], run: Callable[[_Call, dict[str, Any]], Any] = _Call.run
    ) -> list[Tensor]:
        values: dict[str, Any] = dict(self._constants)
        values.update((form.name, given) for form, given in zip(self.forms, inputs, strict=True))
        for call in self._calls:
            try:
                values[call.name] = run(call, values)
            except Exception as error:  # torch's, of any type
                raise _failure(call.name, error) from error
            for name in call.frees:
                del values[name]
        return [values[name] for name in self._outputs]

    def _check(self, inputs: Sequence[Any]) -> None:
        if len(inputs) != len(self.forms):
            raise InputError(f"{len(self.forms)} inputs are needed, {len(inputs)} were given")
        for form, dtype, given in zip(self.forms, self._dtypes, inputs, strict=True):
            if not isinstance(given, Tensor):
                raise InputError(f"input {form.name!r} is a {type(given).__name__}; give a torch.Tensor")
            if given.device.type != self.device.type:
                raise InputError(f"input {form.name!r} is on {given.device}; the graph runs on {self.device}")
            if given.shape != form.shape or given.dtype != dtype:
                raise InputError(
                    f"input {form.name!r} is {given.dtype} of shape {tuple(given.shape)}; {dtype} of shape "
                    f"{form.shape} is needed"
                )


def _calls(graph: LayerGraph, constants: dict[str, Tensor], device: torch.device) -> list[_Call]:
    """The layers as calls, in order; a linear layer that only a recurrent network reads is a part of that."""
    shapes, fused = graph.shapes(), products_of_networks(graph)
    within = {linear.name for linear in fused.values()}
    layers = [layer for layer in graph.layers if layer.name not in within]
    made: list[tuple[Layer, CoreFunction, int, tuple[str, ...]]] = []
    for layer in layers:
        linear = fused.get(layer.name)
        if linear is not None:
            assert isinstance(layer.core, Recurrent)
            assert isinstance(linear.core, Linear)
            network = recurrent_network(layer.core, linear.core, device)
            made.append((layer, network, 0, (*linear.inputs, *layer.inputs[1:])))
            continue
        sources = [shapes[name] for name in layer.inputs]
        core, steps = core_function(layer, sources, graph.constants, device)
        made.append((layer, core, steps, layer.inputs))
    reads = {layer.name: {*inputs, *layer.reads()} for layer, _, _, inputs in made}
    frees = _frees(reads, kept={*graph.outputs, *constants, *graph.inputs})
    return [
        _Call(layer.name, core, inputs, _steps(layer, done, constants), frees[layer.name])
        for layer, core, done, inputs in made
    ]


def _steps(
    layer: Layer, done: int, constants: dict[str, Tensor]
) -> tuple[tuple[StepFunction, Operand | str], ...]:
    """The steps after those `done`, in place once the value is the layer's own."""
    own, found = isinstance(layer.core, MAKES_NEW), list[tuple[StepFunction, Operand | str]]()
    for step in layer.epilogue[done:]:
        operand = constants.get(step.operand, step.operand) if isinstance(step.operand, str) else step.operand
        found.append((step_function(step, in_place=own), operand))
        own = True
    return tuple(found)


def products_of_networks(graph: LayerGraph) -> dict[str, Layer]:
    """By recurrent layer, the linear layer that makes its gates' products, where nobody else reads them."""
    readers: dict[str, int] = {}
    for layer in graph.layers:
        for name in layer.reads():
            readers[name] = readers.get(name, 0) + 1
    linear = {
        layer.name: layer
        for layer in graph.layers
        if isinstance(layer.core, Linear) and not layer.epilogue and readers.get(layer.name) == 1
    }
    return {
        layer.name: linear[layer.inputs[0]]
        for layer in graph.layers
        if isinstance(layer.core, Recurrent)
        and layer.inputs[0] in linear
        and layer.inputs[0] not in graph.outputs
    }


def _frees(reads: dict[str, set[str]], kept: set[str]) -> dict[str, tuple[str, ...]]:
    """By layer, the values that nothing after it reads."""
    last = {name: name for name in reads}
    for layer, names in reads.items():
        last.update((name, layer) for name in names if name in reads)
    freed: dict[str, list[str]] = {name: [] for name in reads}
    for name, reader in last.items():
        if name not in kept:
            freed[reader].append(name)
    return {name: tuple(each) for name, each in freed.items()}


def _failure(name: str, error: Exception) -> Exception:
    if isinstance(error, torch.OutOfMemoryError) or is_out_of_memory(error):
        return OutOfMemoryError(f"no memory is left to compute layer {name!r} ({first_line(error)})")
    return InputError(f"torch cannot compute layer {name!r} of these inputs: {first_line(error)}")
