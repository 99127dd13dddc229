"""Implementations that come from outside: what they answer is looked at, and what fails is told of them.

Best for code that this package does not test. Its own implementations are asked directly: this would cost
them time, and hide their faults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, TypeVar, get_args

from sparsegen.cost import Cost, Origin
from sparsegen.errors import SparsegenError, ToolchainError, first_line
from sparsegen.graph import Layer
from sparsegen.kernels.implementation import Implementation, Offer
from sparsegen.kernels.space import KernelSchedule, Space
from sparsegen.lowering.kernel import Kernel

if TYPE_CHECKING:
    from sparsegen.kernels.registry import Context

T = TypeVar("T")


class Outside(Implementation):
    """An implementation of another package; `origin` tells which, for messages.

    Raises ToolchainError where that fails with an error that is no SparsegenError, or answers something else
    than `Implementation` promises.
    """

    def __init__(self, inner: Implementation, origin: str) -> None:
        self.inner, self.origin = inner, origin
        self.name, self.kinds, self.device = inner.name, inner.kinds, inner.device

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """As it says: a phrase, or None."""
        return self._phrase("accepts", layer, lambda: self.inner.accepts(layer, context))

    def takes(self, schedule: KernelSchedule, layer: Layer, context: Context) -> bool:
        """As it says: True or False."""
        taken = self._asked("takes", layer, lambda: self.inner.takes(schedule, layer, context))
        return self._checked("takes", layer, taken, isinstance(taken, bool), "True or False")

    def fault(self, schedule: KernelSchedule, layer: Layer, context: Context) -> str | None:
        """As it says: a phrase, or None."""
        return self._phrase("fault", layer, lambda: self.inner.fault(schedule, layer, context))

    def offer(self, layer: Layer, context: Context) -> Offer:
        """As it says, of a cost that can be."""
        offer = self._asked("offer", layer, lambda: self.inner.offer(layer, context))
        self._checked("offer", layer, offer, isinstance(offer, Offer), "an Offer")
        cost = offer.cost
        self._checked("offer", layer, cost, isinstance(cost, Cost), "a Cost as its cost")
        self._checked("offer", layer, cost.seconds, _is_time(cost.seconds), "a number of seconds from 0 on")
        of_origin = cost.origin in get_args(Origin)
        self._checked("offer", layer, cost.origin, of_origin, f"an origin of {', '.join(get_args(Origin))}")
        self._checked("offer", layer, offer.format, isinstance(offer.format, str), "a format's name")
        return Offer(self, cost, offer.schedule, offer.format)

    def space(self, layer: Layer, context: Context) -> Space | None:
        """As it says."""
        space = self._asked("space", layer, lambda: self.inner.space(layer, context))
        return self._checked(
            "space", layer, space, space is None or isinstance(space, Space), "a Space or None"
        )

    def build(self, layer: Layer, context: Context, schedule: KernelSchedule | None) -> Kernel:
        """As it says, of a kind that it registers."""
        kernel = self._asked("build", layer, lambda: self.inner.build(layer, context, schedule))
        self._checked("build", layer, kernel, isinstance(kernel, Kernel), "a Kernel")
        kinds = " or ".join(self.kinds) or "none"
        self._checked("build", layer, kernel.kind, kernel.kind in self.kinds, f"a kernel of kind {kinds}")
        return kernel

    def _phrase(self, verb: str, layer: Layer, ask: Callable[[], str | None]) -> str | None:
        phrase = self._asked(verb, layer, ask)
        sound = phrase is None or (isinstance(phrase, str) and phrase.strip() != "")
        return self._checked(verb, layer, phrase, sound, "None, or a phrase that tells why not")

    def _asked(self, verb: str, layer: Layer, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except (SparsegenError, MemoryError):
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {first_line(error)}"
            raise self._error(verb, layer, f"fails ({what})") from error

    def _checked(self, verb: str, layer: Layer, answer: T, sound: bool, allowed: str) -> T:
        if not sound:
            raise self._error(verb, layer, f"gives {answer!r}, where {allowed} is expected")
        return answer

    def _error(self, verb: str, layer: Layer, what: str) -> ToolchainError:
        core = type(layer.core).__name__
        return ToolchainError(
            f"layer {layer.name!r}: `{verb}` of the implementation {self.name!r} of {core} from "
            f"{self.origin} {what}; mend or uninstall that package"
        )


def check_implementation(core: object, implementation: object, cores: Container[object]) -> None:
    """Raises ValueError for what cannot be registered: `cores` are the core operators that layers have."""
    if not isinstance(core, type) or core not in cores:
        raise ValueError(
            f"{core!r} is no core operator that layers have: give one of sparsegen.graph's classes"
        )
    if isinstance(implementation, type):
        raise ValueError(f"the class {implementation.__name__} is registered: give an instance of it")
    if not isinstance(implementation, Implementation):
        raise ValueError(f"{implementation!r} is no Implementation: derive its class from that")
    name, kinds = (getattr(implementation, each, None) for each in ("name", "kinds"))
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"the name of {implementation!r} is {name!r}: give it one")
    if not isinstance(kinds, tuple) or not all(isinstance(kind, str) and kind for kind in kinds):
        raise ValueError(f"the kinds of {name!r} are {kinds!r}: give a tuple of names")


def _is_time(seconds: object) -> bool:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return number and 0 <= seconds < math.inf  # type: ignore[operator]
