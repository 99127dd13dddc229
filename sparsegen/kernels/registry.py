"""Which kernel serves which operator of the layer graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import tvm_ffi

from sparsegen.errors import ScheduleError
from sparsegen.graph import Layer
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.operands import Operand, Value
from sparsegen.kernels.space import KernelSchedule, Space
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import Layout
from sparsegen.stopwatch import part
from sparsegen.target import Target

S = TypeVar("S", bound=KernelSchedule)
T = TypeVar("T")


class Once(Protocol):
    """`Context.once`."""

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, which is called once for a key."""


class Memo(dict[Hashable, Any]):
    """What the contexts of one compilation have worked out, by all that it depends on.

    It stays in its process: a context that is sent to another one begins with an empty memo.
    """

    def __reduce__(self) -> tuple[type[Memo], tuple[()]]:
        return Memo, ()


@dataclass(frozen=True)
class Context:
    """What a kernel may know of the model around its layer.

    `operands` are all values and constants of the graph. `dense` asks for every weight, zeros too;
    `winograd` allows kernels whose rounding is another than that of sums of products.
    `schedules`, by layer, are taken instead of a choice: see `given`. Contexts that share a `memo`
    choose once for equal layers.
    """

    operands: Mapping[str, Operand]
    target: Target
    threads: int
    dense: bool = False
    winograd: bool = True
    schedules: Mapping[str, KernelSchedule] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo, repr=False, compare=False)

    def layout(self, name: str) -> Layout:
        """Layout of a value."""
        return self.value(name).layout

    def value(self, name: str) -> Value:
        """A value of the graph."""
        operand = self.operands[name]
        assert isinstance(operand, Value)
        return operand

    def given(self, layer: Layer, kind: type[S], fault: Callable[[S], str | None]) -> S | None:
        """The layer's schedule, where there is one of this kind; one of another kernel is passed over.

        `fault` tells why the kernel would compute something else under a schedule, and what it can do, or
        None. Raises SparsegenError where there is such a reason.
        """
        schedule = self.schedules.get(layer.name)
        if not isinstance(schedule, kind):
            return None
        reason = fault(schedule)
        if reason is not None:
            raise ScheduleError(f"layer {layer.name!r} cannot have the schedule {schedule}: {reason}")
        return schedule

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, which is called once for a key.

        The key tells all that it depends on, beside the context's target, threads and density.
        """
        whole = (key, self.target, self.threads, self.dense)
        if whole not in self.memo:
            self.memo[whole] = make()
        made: T = self.memo[whole]
        return made

    def scheduled(self, function: Any, schedule: Callable[..., Any], **knobs: Hashable) -> Any:
        """The module `schedule(function, **knobs)`, made once for functions that are equal but for names."""
        key = (schedule, tvm_ffi.StructuralKey(function), tuple(knobs.items()))  # type: ignore[call-arg]
        return self.once(key, lambda: schedule(function, **knobs))

    def epilogue(self, layer: Layer) -> Epilogue:
        """The layer's epilogue, bound to its operands."""
        return Epilogue(layer.epilogue, dict(self.operands))


Builder = Callable[[Layer, Context], Kernel]
SpaceBuilder = Callable[[Layer, Context], Space]
_BUILDERS: dict[type, Builder] = {}
_KINDS: dict[type, tuple[str, ...]] = {}
_SPACES: dict[type, SpaceBuilder] = {}


def kernel_for(core: type, *kinds: str) -> Callable[[Builder], Builder]:
    """Register the decorated function as the builder of kernels of a core operator.

    `kinds` are those of the kernels that it builds; without any, the operator's name in small letters.
    """

    def register(builder: Builder) -> Builder:
        _BUILDERS[core] = builder
        _KINDS[core] = kinds or (core.__name__.lower(),)
        return builder

    return register


@part("scheduling")
def build_kernel(layer: Layer, context: Context) -> Kernel:
    """The kernel of a layer."""
    kernel = _BUILDERS[type(layer.core)](layer, context)
    assert kernel.kind in _KINDS[type(layer.core)], f"{kernel.kind} is no kind that its operator registers"
    return kernel


def kernel_kinds() -> dict[type, tuple[str, ...]]:
    """The kinds of kernels that serve each core operator."""
    return dict(_KINDS)


def space_for(core: type) -> Callable[[SpaceBuilder], SpaceBuilder]:
    """Register the decorated function as the builder of the schedule space of a core operator."""

    def register(builder: SpaceBuilder) -> SpaceBuilder:
        _SPACES[core] = builder
        return builder

    return register


def space_of(layer: Layer, context: Context) -> Space | None:
    """The schedules that a layer's kernel may have; None for a kernel that has no choice."""
    builder = _SPACES.get(type(layer.core))
    return None if builder is None else builder(layer, context)
