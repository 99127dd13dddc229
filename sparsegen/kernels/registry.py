"""Which implementations serve which core operator, and which one a layer gets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, Protocol, TypeVar

import tvm_ffi

from sparsegen.errors import ModelError, ScheduleError, ToolchainError, first_line
from sparsegen.graph import Layer
from sparsegen.kernels.accumulators import check_dtypes
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.implementation import Builder, CostModel, Implementation, Offer, Sole, SpaceBuilder
from sparsegen.kernels.operands import Operand, Value
from sparsegen.kernels.outside import Outside, check_implementation
from sparsegen.kernels.roofline import roofline
from sparsegen.kernels.space import KernelSchedule, Space
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import Layout
from sparsegen.runtime.forks import ForkSafeLock
from sparsegen.stopwatch import part
from sparsegen.target import Target

Measured = Mapping[str, Mapping[str, float]]
"""Seconds of layers, by their names and those of implementations."""

S = TypeVar("S", bound=KernelSchedule)
T = TypeVar("T")


def check_schedule(layer: Layer, schedule: KernelSchedule, fault: str | None) -> None:
    """Raises ScheduleError where there is a reason why a layer cannot have a schedule."""
    if fault is not None:
        raise ScheduleError(f"layer {layer.name!r} cannot have the schedule {schedule}: {fault}")


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
    `schedules`, by layer, are taken instead of a choice: see `given`. `measured` are seconds that somebody
    measured, by layer and implementation: they stand in place of estimates. Contexts that share a `memo`
    choose once for equal layers.
    """

    operands: Mapping[str, Operand]
    target: Target
    threads: int
    dense: bool = False
    winograd: bool = True
    schedules: Mapping[str, KernelSchedule] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo, repr=False, compare=False)
    measured: Measured = field(default_factory=dict)

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
        check_schedule(layer, schedule, fault(schedule))
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


_IMPLEMENTATIONS: dict[type, list[Implementation]] = {}
_ENTRY_POINTS = "sparsegen.implementations"
_OWN = __name__.partition(".")[0]
_LOADING, _loaded = ForkSafeLock(), False


def register(core: type, implementation: Implementation) -> None:
    """Add a way to compute a core operator; between equal costs the one that came first is taken.

    What comes from another package is looked at whenever it answers: see `kernels.outside`.

    Raises ValueError where the core has one of that name.
    """
    registered = _IMPLEMENTATIONS.setdefault(core, [])
    _check_name(core, implementation.name, registered)
    module = type(implementation).__module__
    if module.partition(".")[0] != _OWN:
        implementation = Outside(implementation, f"the module {module}")
    registered.append(implementation)


def kernel_for(core: type, *kinds: str, cost: CostModel | None = None) -> Callable[[Builder], Builder]:
    """Register the decorated function, which makes kernels, as the only implementation of a core operator.

    `kinds` are those of the kernels; without any, the operator's name in small letters. Without a `cost` it
    has the roofline's.
    """

    def decorated(builder: Builder) -> Builder:
        names = kinds or (core.__name__.lower(),)
        register(core, Sole(names[0], names, builder, cost or roofline))
        return builder

    return decorated


def space_for(core: type) -> Callable[[SpaceBuilder], SpaceBuilder]:
    """Register the decorated function as the space of schedules of a core's only implementation."""

    def decorated(builder: SpaceBuilder) -> SpaceBuilder:
        (sole,) = _IMPLEMENTATIONS[core]
        assert isinstance(sole, Sole)
        sole.space_builder = builder
        return builder

    return decorated


def implementations_of(core: type) -> tuple[Implementation, ...]:
    """The ways to compute a core operator: ours, and those of installed packages, in this order."""
    _load_entry_points()
    return tuple(_IMPLEMENTATIONS.get(core, ()))


def implemented_cores() -> tuple[type, ...]:
    """The core operators that there are kernels for."""
    _load_entry_points()
    return tuple(_IMPLEMENTATIONS)


def offers(layer: Layer, context: Context) -> list[Offer]:
    """What every implementation that accepts the layer would do for it, in the order of registration.

    Costs are measured ones where the context has them.
    """
    made = [
        implementation.offer(layer, context)
        for implementation in implementations_of(type(layer.core))
        if implementation.accepts(layer, context) is None
    ]
    measured = context.measured.get(layer.name)
    return made if measured is None else [_as_measured(offer, measured) for offer in made]


def refusals(layer: Layer, context: Context) -> dict[str, str]:
    """Why implementations do not serve the layer, by their names."""
    reasons = {each.name: each.accepts(layer, context) for each in implementations_of(type(layer.core))}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def best_offer(layer: Layer, context: Context) -> Offer:
    """The offer of the least cost.

    Raises ModelError where no implementation accepts the layer.
    """
    made = offers(layer, context)
    if not made:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refusals(layer, context).items())
        what = type(layer.core).__name__
        raise ModelError(
            f"layer {layer.name!r} has no kernel: {reasons or f'nothing is registered for {what}'}"
        )
    return min(made, key=lambda offer: offer.cost.seconds)


@part("scheduling")
def build_kernel(layer: Layer, context: Context) -> Kernel:
    """The kernel of a layer: under the schedule that the context gives for it, or else of the best offer.

    Raises ScheduleError for a given schedule that cannot be, and ModelError where the layer reads or writes a
    value laid out in a type that no kernel computes with.
    """
    check_dtypes((*layer.reads(), layer.name), context.operands)
    implementation, schedule = _given(layer, context) or _offered(layer, context)
    kernel = implementation.build(layer, context, schedule)
    assert kernel.kind in implementation.kinds, f"{implementation.name} registers no kind {kernel.kind}"
    return kernel


def kernel_kinds() -> dict[type, tuple[str, ...]]:
    """The kinds of kernels that serve each core operator."""
    return {
        core: tuple(dict.fromkeys(kind for each in _IMPLEMENTATIONS[core] for kind in each.kinds))
        for core in implemented_cores()
    }


def space_of(layer: Layer, context: Context) -> Space | None:
    """The schedules that the best implementation of a layer may have; None where it has no choice."""
    return best_offer(layer, context).implementation.space(layer, context)


def _as_measured(offer: Offer, measured: Mapping[str, float]) -> Offer:
    seconds = measured.get(offer.implementation.name)
    if seconds is None or offer.cost.origin == "measured":
        return offer
    return replace(offer, cost=replace(offer.cost, seconds=seconds, origin="measured"))


def _given(layer: Layer, context: Context) -> tuple[Implementation, KernelSchedule] | None:
    """The implementation that takes the schedule given for a layer; None where none is, or none takes it."""
    schedule = context.schedules.get(layer.name)
    if schedule is None:
        return None
    for implementation in implementations_of(type(layer.core)):
        if implementation.takes(schedule, layer, context):
            check_schedule(layer, schedule, implementation.fault(schedule, layer, context))
            return implementation, schedule
    return None


def _offered(layer: Layer, context: Context) -> tuple[Implementation, KernelSchedule | None]:
    offer = best_offer(layer, context)
    return offer.implementation, offer.schedule


def _load_entry_points() -> None:
    """Register those of installed packages, once: each entry point gives (core, implementation)s.

    Raises ToolchainError for one that fails, or gives something else; then none is registered.
    """
    global _loaded
    with _LOADING.lock:
        if not _loaded:
            _register_all(metadata.entry_points(group=_ENTRY_POINTS))
            _loaded = True


def _register_all(points: Iterable[metadata.EntryPoint]) -> None:
    found: list[tuple[type, Implementation]] = []
    for point in points:
        origin = f"{point.value} (entry point {point.name!r} of {_ENTRY_POINTS})"
        try:
            for core, implementation in point.load()():
                check_implementation(core, implementation, _IMPLEMENTATIONS)
                others = (each for other, each in found if other is core)
                _check_name(core, implementation.name, (*_IMPLEMENTATIONS[core], *others))
                found.append((core, Outside(implementation, origin)))
        except (Exception, SystemExit) as error:
            raise ToolchainError(
                f"the implementations of {origin} cannot be registered: {first_line(error)}; mend or "
                "uninstall that package"
            ) from error
    for core, implementation in found:
        _IMPLEMENTATIONS[core].append(implementation)


def _check_name(core: type, name: str, registered: Iterable[Implementation]) -> None:
    if any(each.name == name for each in registered):
        raise ValueError(f"{core.__name__} has an implementation called {name!r}")
