"""A compiled model: a list of steps over one arena of activations."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from sparsegen.errors import OptionError, SparsegenError
from sparsegen.graph import CallForm
from sparsegen.runtime import native
from sparsegen.runtime.arguments import leaves_of
from sparsegen.runtime.forks import ForkSafeLock, with_team
from sparsegen.runtime.inputs import InputForm, checked_inputs
from sparsegen.runtime.results import arrange_results, storages, unshared
from sparsegen.runtime.steps import Slots, Step, TorchStep
from sparsegen.runtime.torch_state import as_compiled


@dataclass(frozen=True)
class LayerReport:
    """What became of one layer.

    Shapes are torch's; `weight_shape` is None where the layer has no weights. `density` is the
    share of weights that are not zero, `weight_bytes` the size of the packed ones. `format` is theirs,
    "winograd" where minimal filtering transforms them, and "dense" also where a layer has none.

    `schedule_source` is where the schedule comes from: "tuned" for this very workload, from the "nearest"
    workload that was tuned, the "default" that a model of the CPU chose, or "given" by the caller; empty
    for a kernel that has no choice.

    The `kernel` of a depthwise convolution that its reader's, "separable", computes is "fused"; that of an
    operator which torch computes is "torch": `operator` is its name then (`aten.cumsum.default`).
    """

    name: str
    kernel: str
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    weight_shape: tuple[int, ...] | None
    density: float
    format: str
    weight_bytes: int
    schedule: dict[str, int | str | bool] = field(default_factory=dict)
    schedule_source: str = ""
    operator: str = ""


class CompiledModel:
    """A model compiled for one batch size and one CPU; called as the torch model is.

    Calls are correct from several threads, one at a time. Inputs are tensors on the CPU of the shapes in
    `input_shapes` and the dtypes that the model was compiled for; a call allocates nothing but its outputs,
    and what operators that torch computes allocate.

    layers: one report a layer, in the order of execution.
    peak_bytes: memory of all activations; live_bytes: the most that exist in one step.
    compile_seconds: from what was compiled (a torch model, or a layer graph) to the loaded library.
    """

    def __init__(
        self,
        *,
        steps: Sequence[Step | TorchStep],
        slots: int,
        output_slots: Sequence[int],
        layers: Sequence[LayerReport],
        inputs: Sequence[InputForm],
        output_shapes: Sequence[tuple[int, ...]],
        call: CallForm | None,
        output_spec: Any,
        known_outputs: Mapping[int, Any],
        constants: Iterable[torch.Tensor],
        threads: int,
        peak_bytes: int,
        live_bytes: int,
        compile_seconds: float,
    ) -> None:
        self.layers = tuple(layers)
        self.input_shapes = tuple(form.shape for form in inputs)
        self.output_shapes = tuple(output_shapes)
        self.threads = threads
        self.peak_bytes = peak_bytes
        self.live_bytes = live_bytes
        self.compile_seconds = compile_seconds
        self._steps = tuple(steps)
        self._free = (None,) * (slots - len(inputs))
        self._output_slots = tuple(output_slots)
        self._inputs = tuple(inputs)
        self._call_form = call
        self._by_position = call is None or call.is_flat
        self._runs_torch = any(isinstance(step, TorchStep) for step in steps)
        self._constants = storages(constants)
        self._output_spec = output_spec
        self._known_outputs = known_outputs
        self._exclusive = ForkSafeLock()

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
        return with_team(lambda: self._call(inputs, named, self._run))

    def run_layer(self, name: str) -> None:
        """Run one layer's kernel again, on what the last call left in the buffers: for timing.

        Nothing is run for a fused layer: the next one's kernel computes both.

        Raises OptionError for a name that is not in `layers` (those of inputs and outputs are not), and for
        a layer that reads or writes plain tensors, of which a call leaves nothing: `layer_seconds` times it.
        """
        if all(report.name != name for report in self.layers):
            raise OptionError(f"no layer {name!r}; there are {', '.join(r.name for r in self.layers)}")
        steps = [step for step in self._steps if step.layer == name]
        if any(type(step) is not Step for step in steps):
            raise OptionError(f"layer {name!r} needs the values of a call: layer_seconds(*inputs) times it")
        with_team(lambda: self._run(steps, []))

    def layer_seconds(self, *inputs: Any, **named: Any) -> dict[str, float]:
        """Seconds that every layer takes in one call with these inputs, by name; for torch's operators too.

        The conversions of inputs and outputs bear their names ("output 0"). One call's times are noisy: take
        medians of several. Raises as a call does.
        """
        seconds: defaultdict[str, float] = defaultdict(float)

        def timed(steps: Sequence[Step | TorchStep], slots: Slots) -> None:
            def clocked(step: Step | TorchStep) -> None:
                started = time.perf_counter()
                step.run(slots)
                seconds[step.layer] += time.perf_counter() - started

            self._run(steps, slots, clocked)

        with_team(lambda: self._call(inputs, named, timed))
        return dict(seconds)

    def _call(self, inputs: Sequence[Any], named: Mapping[str, Any], run: Any) -> Any:
        if named or not self._by_position:
            inputs = leaves_of(self._call_form, inputs, named)
        given = checked_inputs(inputs, self._inputs)
        slots: Slots = [*given, *self._free]
        run(self._steps, slots)
        outputs = [slots[slot] for slot in self._output_slots]
        if self._runs_torch:
            outputs = unshared(outputs, self._constants | storages(given))
        return arrange_results(outputs, self._known_outputs, self._output_spec)

    def _run(self, steps: Sequence[Step | TorchStep], slots: Slots, clocked: Any = None) -> None:
        step = None
        with self._exclusive.lock:
            native.set_threads(self.threads)
            with as_compiled(self.threads) if self._runs_torch else nullcontext():
                try:
                    for step in steps:
                        step.run(slots) if clocked is None else clocked(step)
                except SparsegenError:
                    raise
                except Exception as error:  # TVM's and torch's, of any type
                    assert step is not None
                    raise step.failure(error) from error
