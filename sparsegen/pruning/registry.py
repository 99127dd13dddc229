"""Pruning methods by name: one file a method."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sparsegen.errors import PruningError
from sparsegen.pruning.masks import PrunedLayer
from sparsegen.typed import plain_number

Prune = Callable[..., tuple[PrunedLayer, ...]]
_Prune = TypeVar("_Prune", bound=Prune)

_SHARED = ("skip", "linear", "on_progress")
"""Options of a method that say nothing about its rule."""


@dataclass(frozen=True)
class Method:
    """A way to prune: `function(model, *, skip, linear, **options)`, some of its options `fixed`.

    `name` is that of the structure that it makes, as in `sparsegen.formats.structure_names`, without sizes.
    """

    name: str
    function: Prune
    fixed: Mapping[str, Any]

    def prune(self, model: Any, **options: Any) -> tuple[PrunedLayer, ...]:
        """Prune `model` in place."""
        return self.function(model, **self.fixed, **options)

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options of the method's own rule."""
        return tuple(
            name
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and name not in self.fixed and name not in _SHARED
        )

    @property
    def required(self) -> tuple[str, ...]:
        """Those of `options` that have no default."""
        parameters = inspect.signature(self.function).parameters
        return tuple(name for name in self.options if parameters[name].default is inspect.Parameter.empty)

    @property
    def tells_progress(self) -> bool:
        """Whether `function` takes `on_progress(text, done, total)`: it may need a while."""
        return "on_progress" in inspect.signature(self.function).parameters


METHODS: dict[str, Method] = {}
"""Every method by its name, which is also the command's `--method`."""

ALIASES: dict[str, str] = {}
"""Earlier spellings of names."""


def register(name: str, *, alias: str | None = None, **fixed: Any) -> Callable[[_Prune], _Prune]:
    """Register the decorated function under `name`, and an `alias` of it, with these of its options fixed.

    It gets numbers of other types, such as NumPy's, as Python's own, which JSON can hold.
    """

    def add(function: _Prune) -> _Prune:
        plain = _of_plain_numbers(function)
        METHODS[name] = Method(name, plain, fixed)
        if alias is not None:
            ALIASES[alias] = name
        return plain

    return add


def _of_plain_numbers(function: _Prune) -> _Prune:
    @functools.wraps(function)
    def pruned(*args: Any, **options: Any) -> tuple[PrunedLayer, ...]:
        return function(*args, **{name: plain_number(value) for name, value in options.items()})

    return cast("_Prune", pruned)


def find_method(name: str) -> Method:
    """The method of that name or alias; PruningError where there is none."""
    found = METHODS.get(ALIASES.get(name, name))
    if found is None:
        raise PruningError(f"there is no pruning method {name!r}: choose one of {', '.join(METHODS)}")
    return found
