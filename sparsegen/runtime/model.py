"""A compiled model: a program that can be called."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from sparsegen.errors import OptionError, SparsegenError
from sparsegen.runtime import bindings
from sparsegen.runtime.arguments import leaves_of
from sparsegen.runtime.artefact.save import Saved, save_programs
from sparsegen.runtime.calls import BoundCall, BoundKernel, Slots
from sparsegen.runtime.contexts import Contexts
from sparsegen.runtime.forks import with_team
from sparsegen.runtime.inputs import InputForm, checked_inputs
from sparsegen.runtime.program import Program, TorchCall, Weight
from sparsegen.runtime.results import arrange_results, check_results, storages, unshared
from sparsegen.runtime.stages import BoundStages, GroupKernel, one_by_one
from sparsegen.runtime.torch_state import as_compiled
from sparsegen.target import check_runs

Clocked = Callable[[Any, Slots], None]
"""Runs a call, and takes its time."""


def bind(program: Program) -> CompiledModel:
    """The model of a program: its library loaded, and an arena for its first call.

    The weights are used where they lie if they start at a cache line and may be written to, and copied once
    otherwise. What the program says of itself is taken as it is: `runtime.check` looks at it.

    Raises TargetError where this machine lacks what the code may use, and another SparsegenError where the
    library cannot be loaded or has not what the calls name, where torch lacks an operator, or no memory is
    left.
    """
    check_runs(program.target, program.without)
    return CompiledModel(program)


class CompiledModel:
    """A model compiled for one batch size and one CPU; called as the torch model is.

    Several threads may call it at once: each call that is under way has activations of its own, `peak_bytes`,
    made when so many are for the first time, and all share the weights. Inputs are tensors on the CPU of the
    shapes in `input_shapes` and the dtypes that the model was compiled for. A call allocates its outputs,
    copies of inputs that do not lie row-major, and what operators that torch computes allocate.

    program: all that the model is made of, as data.
    layers: one report a layer, in the order of execution.
    peak_bytes: memory of all activations; live_bytes: the most that exist in one step.
    compile_seconds: from what was compiled (a torch model, or a layer graph) to the loaded library;
        0 for a program that was bound alone.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.layers = program.layers
        self.input_shapes = tuple(form.shape for form in program.interface.inputs)
        self.output_shapes = program.interface.output_shapes
        self.threads = program.threads
        self.peak_bytes = program.arena_bytes
        self.live_bytes = program.live_bytes
        self.compile_seconds = 0.0
        self._contexts = contexts = Contexts(program)
        self._inputs = tuple(
            InputForm(form.name, form.shape, getattr(torch, form.dtype)) for form in program.interface.inputs
        )
        self._unfilled = (None,) * (program.slots - len(self._inputs))
        self._outputs = program.outputs
        self._call_form = call = program.interface.call
        self._by_position = call is None or call.is_flat
        self._runs_torch = any(isinstance(each, TorchCall) for each in program.calls)
        self._structure = program.interface.structure
        self._known = {
            place: contexts.tensors[value.index] if isinstance(value, Weight) else value
            for place, value in program.interface.known.items()
        }
        self._own = storages(contexts.tensors.values())
        self._by_torch = {
            at: shape
            for at, (slot, shape) in enumerate(zip(program.outputs, self.output_shapes, strict=True))
            if slot in contexts.by_torch
        }

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The model's result, in the structure that the torch model returns.

        Arguments are those of the torch model, of the structure that it was compiled with. What was None or a
        number then has to be so again, and may be left out. Results that kernels compute are float32 tensors
        on the CPU whatever torch's default dtype and device are, under autocast too; all others have the
        dtype, or the type, that they have in torch. None carries a gradient, none shares memory with the
        inputs. A forked process runs a model on as many threads, its own.

        Raises InputError for other arguments than the model was compiled with: their number, names, shape,
        dtype, layout or device, and for values that torch's operators refuse; OutOfMemoryError where no
        memory is left; and ToolchainError where a kernel fails.
        """
        return with_team(lambda: self._call(inputs, named))

    def save(self, path: str | os.PathLike[str]) -> Saved:
        """Write the model into a file that `sparsegen.load`, and C, run without compiling.

        It is written whole or not at all; `docs/artefact.md` describes it. `sparsegen.save` puts several
        models into one file. Returns what was stored. Raises FileError where the file cannot be written,
        and ProgramError where the model takes or returns a class that cannot be written down.
        """
        return save_programs(path, [self.program])

    def run_layer(self, name: str) -> None:
        """Run one layer's kernel again, on what the last call left in the buffers: for timing.

        Nothing is run for a fused layer: the next one's kernel computes both.

        Raises OptionError for a name that is not in `layers` (those of inputs and outputs are not), and for
        a layer that reads or writes plain tensors, of which a call leaves nothing: `layer_seconds` times it.
        """
        if all(report.name != name for report in self.layers):
            raise OptionError(f"no layer {name!r}; there are {', '.join(r.name for r in self.layers)}")
        context = self._contexts.take()
        try:
            calls = [call for call in one_by_one(context) if call.layer == name]
            if any(type(call) not in (BoundKernel, GroupKernel) for call in calls):
                raise OptionError(
                    f"layer {name!r} needs the values of a call: layer_seconds(*inputs) times it"
                )
            with_team(lambda: self._run(calls, []))
        finally:
            self._contexts.give_back(context)

    def layer_seconds(self, *inputs: Any, **named: Any) -> dict[str, float]:
        """Seconds that every layer takes in one call with these inputs, by name; for torch's operators too.

        The conversions of inputs and outputs bear their names ("output 0"). One call's times are noisy: take
        medians of several. Raises as a call does.
        """
        seconds: defaultdict[str, float] = defaultdict(float)

        def clocked(call: BoundCall, slots: Slots) -> None:
            started = time.perf_counter()
            call.run(slots)
            seconds[call.layer] += time.perf_counter() - started

        with_team(lambda: self._call(inputs, named, clocked, alone=True))
        return dict(seconds)

    def timeline(self, *inputs: Any, **named: Any) -> list[tuple[str, float, float]]:
        """When each layer begins and ends in one call with these inputs, in seconds from its start.

        Unlike `layer_seconds` the layers run as in any call: those of a stage at once. Raises as a call does.
        """
        spans: list[tuple[str, float, float]] = []

        def clocked(call: BoundCall | BoundStages, slots: Slots) -> None:
            if isinstance(call, BoundStages):
                layers = (kernel.layer for kernel in call.kernels)
                spans.extend((name, *span) for name, span in zip(layers, call.timed(), strict=True))
            else:
                begun = time.monotonic()
                call.run(slots)
                spans.append((call.layer, begun, time.monotonic()))

        started = time.monotonic()
        with_team(lambda: self._call(inputs, named, clocked))
        return [(name, begin - started, end - started) for name, begin, end in spans]

    def run_on(self, leaves: Sequence[Any]) -> Any:
        """The model's result for the tensors among its arguments, in order; raises as a call does."""
        return with_team(lambda: self._run_on(leaves))

    def _call(
        self,
        inputs: Sequence[Any],
        named: Mapping[str, Any],
        clocked: Clocked | None = None,
        *,
        alone: bool = False,
    ) -> Any:
        if named or not self._by_position:
            inputs = leaves_of(self._call_form, inputs, named)
        return self._run_on(inputs, clocked, alone=alone)

    def _run_on(self, leaves: Sequence[Any], clocked: Clocked | None = None, *, alone: bool = False) -> Any:
        given = checked_inputs(leaves, self._inputs)
        slots: Slots = [*given, *self._unfilled]
        context = self._contexts.take()
        try:
            self._run(context if not alone else one_by_one(context), slots, clocked)
        finally:
            self._contexts.give_back(context)
        outputs = [slots[slot] for slot in self._outputs]
        if self._runs_torch:
            check_results(outputs, self._by_torch)
            outputs = unshared(outputs, self._own | storages(given))
        return arrange_results(outputs, self._known, self._structure)

    def _run(self, calls: Sequence[Any], slots: Slots, clocked: Clocked | None = None) -> None:
        bindings.set_threads(self.threads)
        with as_compiled(self.threads) if self._runs_torch else nullcontext():
            call = None
            try:
                for call in calls:
                    call.run(slots) if clocked is None else clocked(call, slots)
            except SparsegenError:
                raise
            except Exception as error:  # TVM's and torch's, of any type
                assert call is not None
                raise call.failure(error) from error
