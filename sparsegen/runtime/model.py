"""A compiled model: a list of steps over one arena of activations."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import tvm_ffi

from sparsegen.errors import InputError, OptionError, ToolchainError, first_line
from sparsegen.runtime import native
from sparsegen.runtime.forks import ForkSafeLock, with_team
from sparsegen.runtime.inputs import flat_inputs
from sparsegen.runtime.memory import allocate_results
from sparsegen.runtime.results import arrange_results


@dataclass(frozen=True)
class LayerReport:
    """What became of one layer.

    Shapes are torch's; `weight_shape` is None where the layer has no weights. `density` is the
    share of weights that are not zero, `weight_bytes` the size of the packed ones. `format` is theirs,
    "winograd" where minimal filtering transforms them, and "dense" also where a layer has none.

    `schedule_source` is where the schedule comes from: "tuned" for this very workload, from the "nearest"
    workload that was tuned, the "default" that a model of the CPU chose, or "given" by the caller; empty
    for a kernel that has no choice.

    The `kernel` of a depthwise convolution that its reader's, "separable", computes is "fused".
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


@dataclass(frozen=True, eq=False)
class Halo:
    """The zero padding of one value's buffer, as `native.zero_halo` takes it."""

    groups: int
    size: int
    head: int
    planes: int
    plane: int
    spans: tuple[tuple[int, int], ...]

    def clearer(self, data: torch.Tensor) -> Callable[[], None]:
        """A call that zeroes the halo in a buffer of groups x size floats."""
        flat = [edge for span in self.spans for edge in span]
        spans = (ctypes.c_int64 * len(flat))(*flat)
        sizes = (self.groups, self.size, self.head, self.planes, self.plane, len(self.spans))
        arguments = (ctypes.c_void_p(data.data_ptr()), *map(ctypes.c_int64, sizes), spans)
        clear = native.library().sparsegen_zero_halo
        return lambda: clear(*arguments)


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a generated function.

    An argument is a tensor (of TVM's own, which cost no conversion in a call), or the index of one
    of the model's inputs (from 0) or outputs (from -1 down). `clear`, where set, zeroes the output's
    halo before the call.
    """

    layer: str
    function: Callable[..., Any]
    arguments: tuple[tvm_ffi.Tensor | int, ...]
    clear: Callable[[], None] | None = None

    @functools.cached_property
    def at_edge(self) -> bool:
        """Whether the step reads the model's inputs or writes its outputs."""
        return any(isinstance(argument, int) for argument in self.arguments)

    def run(self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> None:
        """Call the function, the model's inputs and outputs put in their places."""
        if self.clear is not None:
            self.clear()
        if not self.at_edge:
            self.function(*self.arguments)
            return
        edges = (*inputs, *reversed(outputs))  # so that -1 is the first output
        self.function(*(edges[a] if isinstance(a, int) else a for a in self.arguments))


class CompiledModel:
    """A model compiled for one batch size and one CPU; called as the torch model is.

    Calls are correct from several threads, one at a time. Inputs are float32 tensors on the CPU of
    the shapes in `input_shapes`; a call allocates nothing but its outputs.

    layers: one report a layer, in the order of execution.
    peak_bytes: memory of all activations; live_bytes: the most that exist in one step.
    compile_seconds: from what was compiled (a torch model, or a layer graph) to the loaded library.
    """

    def __init__(
        self,
        *,
        steps: Sequence[Step],
        layers: Sequence[LayerReport],
        input_shapes: Sequence[tuple[int, ...]],
        output_shapes: Sequence[tuple[int, ...]],
        output_spec: Any,
        known_outputs: Mapping[int, Any],
        threads: int,
        peak_bytes: int,
        live_bytes: int,
        compile_seconds: float,
    ) -> None:
        self.layers = tuple(layers)
        self.input_shapes = tuple(input_shapes)
        self.output_shapes = tuple(output_shapes)
        self.threads = threads
        self.peak_bytes = peak_bytes
        self.live_bytes = live_bytes
        self.compile_seconds = compile_seconds
        self._steps = tuple(steps)
        self._output_spec = output_spec
        self._known_outputs = known_outputs
        self._exclusive = ForkSafeLock()

    def __call__(self, *inputs: torch.Tensor, **named: torch.Tensor) -> Any:
        """The model's result, in the structure that the torch model returns.

        Computed results are float32 tensors on the CPU whatever torch's default dtype and device are, under
        autocast too, and carry no gradient; what does not depend on the inputs has the dtype, or the type,
        that it has in torch. A forked process runs a model on as many threads, its own.

        Raises SparsegenError for inputs given by name, a wrong number of them, and for a wrong shape, dtype,
        layout or device; where no memory is left for the results; and where a kernel fails.
        """
        if named:
            raise InputError(
                f"inputs are given by position, not by name ({', '.join(named)}): call compiled(x), in the "
                "order of the example inputs"
            )
        return with_team(lambda: self._call(inputs))

    def run_layer(self, name: str) -> None:
        """Run one layer's kernel again, on what the last call left in the buffers: for timing.

        Nothing is run for a fused layer: the next one's kernel computes both.

        Raises SparsegenError for a name that is not in `layers`; those of inputs and outputs are not.
        """
        if all(report.name != name for report in self.layers):
            raise OptionError(f"no layer {name!r}; there are {', '.join(r.name for r in self.layers)}")
        steps = [step for step in self._steps if step.layer == name]
        with_team(lambda: self._run(steps, (), ()))

    def _call(self, inputs: Sequence[torch.Tensor]) -> Any:
        bound = flat_inputs(inputs, self.input_shapes)
        outputs = allocate_results(self.output_shapes)
        self._run(self._steps, bound, [output.view(-1) for output in outputs])
        return arrange_results(outputs, self._known_outputs, self._output_spec)

    def _run(
        self, steps: Sequence[Step], inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]
    ) -> None:
        layer = ""
        try:
            with self._exclusive.lock:
                native.set_threads(self.threads)
                for step in steps:
                    layer = step.layer
                    step.run(inputs, outputs)
        except Exception as error:  # TVM's, of any type
            raise ToolchainError(f"the kernel of layer {layer!r} failed: {first_line(error)}") from error
