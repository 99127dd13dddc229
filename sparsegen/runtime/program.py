"""A compiled model as data: what to call on which memory, and nothing that belongs to one process.

A program is a sequence of calls: of generated functions, by the symbols that its library has for them, and of
torch's operators, by their names. Laid-out values lie at offsets of an arena. Plain tensors, which the
model's inputs, its outputs and everything that torch computes are, live in the numbered slots of one call of
the model, the inputs in the first ones. Weights lie at offsets of one block.

`runtime.model.bind` makes a model of it, `runtime.check` tells whether it is sound, `runtime.program_json`
writes it down.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsegen.graph import FLOAT32, ITEM_BYTES, ApproximatedStep, CallForm

if TYPE_CHECKING:
    from sparsegen.runtime.transformed import TransformedFilters

Shape = tuple[int, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Slot:
    """The plain tensor in a slot.

    A generated function reads it flat and row-major, as many elements as `shape` has, of a type. Where it is
    `aligned` it is a buffer, which starts at a cache line and keeps its shape. Torch's operators read what is
    there: they have no shape here.
    """

    index: int
    shape: Shape | None = None
    dtype: str = "float32"
    aligned: bool = False


@dataclass(frozen=True)
class NewTensor:
    """A plain tensor that a call makes, written flat and row-major, and puts in a slot."""

    slot: int
    shape: Shape
    dtype: str = FLOAT32


@dataclass(frozen=True)
class _Stretch:
    """Some memory: `shape` elements, row-major, from byte `offset` on."""

    offset: int
    shape: Shape
    dtype: str = FLOAT32

    @property
    def end(self) -> int:
        """The first byte past it."""
        return self.offset + math.prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Region(_Stretch):
    """A part of the arena.

    `halo` is the number of one of the program's halos: where a call reads, what has to be zero then, and
    where it writes, what it leaves as it is. None: nothing.
    """

    halo: int | None = None

    def meets(self, other: Region) -> bool:
        """Whether both have some byte."""
        return self.offset < other.end and other.offset < self.end


@dataclass(frozen=True)
class Weight:
    """One of the program's arrays, by its number."""

    index: int


@dataclass(frozen=True)
class PlacedArray(_Stretch):
    """Where an array lies in the block of weights."""


@dataclass(frozen=True)
class Clearing:
    """What is to be zero of a buffer of `groups` x `size` elements: an image's halo.

    In every group that is its first `head` elements, and in each of the `planes` stretches of `plane`
    elements that follow, the `spans`, pairs of (begin, end). The last plane may be cut short by the end.
    """

    groups: int
    size: int
    head: int
    planes: int
    plane: int
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Parameter:
    """What a generated function takes for an argument: row-major elements of a shape and a type.

    None stands for an extent that the other arguments' numbers tell. Plain tensors are flat.
    """

    shape: tuple[int | None, ...]
    dtype: str = FLOAT32


@dataclass(frozen=True)
class KernelCall:
    """A call of the generated function `symbol` for a layer; its last argument is what it writes.

    `clears` tells whether the halo of what it writes is zeroed before the call: elsewhere the arena has zeros
    there from the beginning, or nobody needs them. Slots of `frees` are read no more.
    """

    layer: str
    symbol: str
    arguments: tuple[Slot | Region | Weight | NewTensor, ...]
    clears: bool = False
    frees: tuple[int, ...] = ()


@dataclass(frozen=True)
class CallGroup:
    """Calls, by their numbers, that run one after the other on so many threads."""

    calls: tuple[int, ...]
    threads: int


@dataclass(frozen=True)
class CallStage:
    """Groups of calls that run at once: together they are the calls from `first` to before `end`.

    All are calls of kernels, on the arena alone. The program's order is one that runs, too. `after` has
    those of other groups that a call begins after, by the call's number.
    """

    first: int
    end: int
    groups: tuple[CallGroup, ...]
    after: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


TorchKind = Literal["dtype", "layout", "memory_format", "device"]


@dataclass(frozen=True)
class TorchConstant:
    """An argument that torch has a name for, such as the dtype "float32"."""

    kind: TorchKind
    name: str


Argument = Any
"""Of an operator of torch: a number, text, None, a Slot, a Weight, a TorchConstant, or a tuple of such."""


@dataclass(frozen=True)
class TorchCall:
    """A call of an operator of torch, such as "aten.cumsum.default", whose result goes to `slot`.

    "getitem" takes one of several results. A result may be a view of what the operator reads: slots of
    `frees` are read no more, and torch frees the memory.
    """

    layer: str
    operator: str
    arguments: tuple[Argument, ...]
    keywords: tuple[tuple[str, Argument], ...]
    slot: int
    frees: tuple[int, ...] = ()


@dataclass(frozen=True)
class PlainForm:
    """What an input has to be: a tensor of a shape and a type of elements; `name` is for messages."""

    name: str
    shape: Shape
    dtype: str = FLOAT32


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
    operator which torch computes is "torch": `operator` is its name then (`aten.cumsum.default`), and
    `reason` tells why torch computes it. Of a kernel, `reason` tells why an implementation that times were
    given for does not compute the layer.

    `approximated` are the functions of the layer's epilogue that the caller allows to be approximated, and
    what became of each.
    """

    name: str
    kernel: str
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    weight_shape: Shape | None
    density: float
    format: str
    weight_bytes: int
    schedule: dict[str, int | str | bool] = field(default_factory=dict)
    schedule_source: str = ""
    operator: str = ""
    reason: str = ""
    approximated: tuple[ApproximatedStep, ...] = ()


@dataclass(frozen=True)
class Interface:
    """How a model is called, and what it returns.

    `call` tells how the inputs are given, None: all by position. `structure` is the pytree spec of the
    result, None: a single tensor. `known` are parts of the result that do not depend on the inputs, by their
    position among all: numbers, text, None, or a Weight.
    """

    inputs: tuple[PlainForm, ...]
    output_shapes: tuple[Shape, ...]
    call: CallForm | None = None
    structure: Any = None
    known: Mapping[int, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Program:
    """All of a compiled model.

    target, threads: the CPU, as LLVM names it, and the number of threads that it is for.
    without: features that CPUs of that name have and the code does not use, by LLVM's names.
    calls: in the order of execution, on `slots` plain tensors and an arena of `arena_bytes`.
    live_bytes: the most of the arena that holds values at once.
    outputs: the slots of the results that the calls compute.
    arrays, weights: where each array lies in the block of all: one after the other, each from the next cache
        line on, and nothing else.
    library: the shared library that has the functions; empty where all is torch's.
    signatures: what each function takes, by its symbol.
    halos: of the regions, each once.
    layers: a report a layer.
    stages: of calls that do not run alone, one after the other on all threads, as the others do.
    made: what arrays are made of, by number, where that is smaller than they are: for those who store them.
    """

    target: str
    threads: int
    interface: Interface
    calls: tuple[KernelCall | TorchCall, ...]
    slots: int
    outputs: tuple[int, ...]
    arena_bytes: int
    live_bytes: int
    arrays: tuple[PlacedArray, ...]
    weights: NDArray[np.uint8]
    library: bytes
    signatures: Mapping[str, tuple[Parameter, ...]] = field(default_factory=dict)
    halos: tuple[Clearing, ...] = ()
    without: tuple[str, ...] = ()
    layers: tuple[LayerReport, ...] = ()
    stages: tuple[CallStage, ...] = ()
    made: Mapping[int, TransformedFilters] = field(default_factory=dict)


def ended_before(stage: CallStage) -> dict[int, int]:
    """By a stage's call, those of the stage that have surely ended when it begins: a bit each, by number."""
    ended: dict[int, int] = {}
    previous = {call: one for group in stage.groups for one, call in itertools.pairwise(group.calls)}
    for call in range(stage.first, stage.end):
        sources = (*stage.after.get(call, ()), *([previous[call]] if call in previous else []))
        ended[call] = functools.reduce(lambda mask, source: mask | ended[source] | 1 << source, sources, 0)
    return ended


def array_at(weights: NDArray[np.uint8], placed: PlacedArray) -> NDArray[Any]:
    """An array where it lies in a block; as its bytes where numpy lacks its type."""
    held = weights[placed.offset : placed.end]
    return held if placed.dtype == "bfloat16" else held.view(placed.dtype).reshape(placed.shape)


def slots_in(argument: Argument) -> list[Slot]:
    """The slots that an argument reads, those of a list or tuple too."""
    return _all_of(Slot, argument)


def weights_in(argument: Argument) -> list[Weight]:
    """The arrays that an argument reads, those of a list or tuple too."""
    return _all_of(Weight, argument)


def regions_of(arguments: Iterable[object]) -> list[Region]:
    """The regions among arguments of kernels."""
    return [each for each in arguments if isinstance(each, Region)]


def read_by(call: KernelCall | TorchCall) -> list[object]:
    """All that a call reads."""
    if isinstance(call, TorchCall):
        return [*call.arguments, *(value for _, value in call.keywords)]
    return list(call.arguments[:-1])


def slots_written(call: KernelCall | TorchCall) -> list[int]:
    """The slots that a call puts something in."""
    if isinstance(call, TorchCall):
        return [call.slot]
    return [each.slot for each in call.arguments if isinstance(each, NewTensor)]


def span_of(region: Region) -> str:
    """The region's bytes, for messages."""
    return f"{region.offset:,} to {region.end:,}"


def _all_of(kind: type[T], argument: Argument) -> list[T]:
    if isinstance(argument, list | tuple):
        return [found for each in argument for found in _all_of(kind, each)]
    return [argument] if isinstance(argument, kind) else []
