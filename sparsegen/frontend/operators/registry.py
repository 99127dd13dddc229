"""The operators that the frontend translates, by ATen name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Translator = Callable[..., Any]
"""Called with the call site and the operator's arguments in the order of its ATen schema, defaults
filled in; a tensor argument arrives as a `NodeValue`. Returns the result's `NodeValue`, or a tuple of them
(None for a result that cannot be had) where the operator returns several."""

TRANSLATORS: dict[str, Translator] = {}

T = TypeVar("T", bound=Translator)


def operator(*names: str) -> Callable[[T], T]:
    """Register a translator for ATen operators, named `aten.relu.default`."""

    def register(translator: T) -> T:
        for name in names:
            assert name not in TRANSLATORS, f"{name} has a translator"
            TRANSLATORS[name] = translator
        return translator

    return register


def supported_operators() -> tuple[str, ...]:
    """Names of the supported operators, sorted."""
    return tuple(sorted(TRANSLATORS))
