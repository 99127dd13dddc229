"""A compiled model: a list of steps over one arena of activations."""

from __future__ import annotations

import ctypes
import functools
import itertools
import mmap
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import tvm_ffi
from numpy.typing import NDArray

from sparsegen.errors import InputError, OptionError
from sparsegen.runtime import native
from sparsegen.runtime.results import arrange_results

_HUGE_PAGE, _LINE = 2 << 20, 64  # bytes


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


def allocate_arena(size: int) -> torch.Tensor:
    """`size` bytes of zeros, on large pages where the system grants them."""
    rounded = max(1, -(-size // _HUGE_PAGE)) * _HUGE_PAGE
    # Private, for shared memory (mmap's default) gets no large pages.
    memory = mmap.mmap(-1, rounded + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    arena = torch.frombuffer(memory, dtype=torch.uint8)
    start = -arena.data_ptr() % _HUGE_PAGE
    return arena[start : start + rounded]


def place_weights(arrays: Sequence[NDArray[Any]]) -> list[tvm_ffi.Tensor]:
    """Copies of contiguous arrays: side by side on large pages, each from a cache line on."""
    begins = [0, *itertools.accumulate(-(-array.nbytes // _LINE) * _LINE for array in arrays)]
    memory = allocate_arena(begins[-1])
    copies = []
    for array, begin in zip(arrays, begins, strict=False):
        source = torch.from_numpy(array)
        copy = memory[begin : begin + array.nbytes].view(source.dtype).view(source.shape)
        copies.append(tvm_ffi.from_dlpack(copy.copy_(source)))
    return copies


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
        self._lock = threading.Lock()

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """The model's result, in the structure that the torch model returns.

        What does not depend on the inputs has the dtype, or the type, that it has in torch.

        Raises SparsegenError for a wrong number of inputs, and for a wrong shape, dtype or device.
        """
        bound = self._check(inputs)
        outputs = [torch.empty(shape) for shape in self.output_shapes]
        flat = [output.view(-1) for output in outputs]
        with self._lock:
            native.set_threads(self.threads)
            for step in self._steps:
                step.run(bound, flat)
        return arrange_results(outputs, self._known_outputs, self._output_spec)

    def run_layer(self, name: str) -> None:
        """Run one layer's kernel again, on what the last call left in the buffers: for timing.

        Nothing is run for a fused layer: the next one's kernel computes both.

        Raises SparsegenError for a name that is not in `layers`.
        """
        steps = [step for step in self._steps if step.layer == name]
        if not steps and all(report.name != name for report in self.layers):
            raise OptionError(f"no layer {name!r}; there are {', '.join(r.name for r in self.layers)}")
        with self._lock:
            native.set_threads(self.threads)
            for step in steps:
                step.run((), ())

    def _check(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        if len(inputs) != len(self.input_shapes):
            raise InputError(f"the model takes {len(self.input_shapes)} inputs, {len(inputs)} were given")
        return [
            _check_input(i, tensor, shape)
            for i, (tensor, shape) in enumerate(zip(inputs, self.input_shapes, strict=True))
        ]


def _check_input(index: int, tensor: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """The input flat and contiguous."""
    if not isinstance(tensor, torch.Tensor):
        raise InputError(f"input {index} is a {type(tensor).__name__}; give a torch.Tensor")
    if tensor.device.type != "cpu":
        raise InputError(f"input {index} is on {tensor.device}; compiled models run on the CPU: call .cpu()")
    if tensor.dtype != torch.float32:
        raise InputError(f"input {index} has dtype {tensor.dtype}; compiled models take torch.float32")
    if tuple(tensor.shape) != shape:
        raise InputError(
            f"input {index} has shape {tuple(tensor.shape)}; the model was compiled for {shape}: "
            "compile once per batch size and image size"
        )
    return tensor.detach().contiguous().view(-1)
