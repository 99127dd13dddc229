"""The options of a verb as one record, with its defaults; what the records of several verbs have in common.

The records import neither torch nor TVM: the command line takes its defaults from them, and starts at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from sparsegen.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What a model that is given by name is called with: `batch` images of `input_shape` (C, H, W).

    A `batch` of None is 16, or a `.pt2` file's own; an `input_shape` of None is the model's own, where it
    tells.
    """

    batch: Annotated[int | None, "Images per call."] = None
    input_shape: Annotated[tuple[int, ...] | None, "Shape of one image, such as (3, 224, 224)."] = None

    def check(self) -> None:
        """Raise OptionError for what no model and no machine could make sense of."""
        self._check_least(1, "batch")

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The same options, but for these; OptionError for a name that is none of them."""
        known = [each.name for each in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise OptionError(f"there is no option {name!r}: choose of {', '.join(known)}")
        return dataclasses.replace(self, **changes)

    def _check_least(self, least: int, *names: str) -> None:
        """Raise OptionError for a count that is no whole number or below `least`; None passes."""
        for name in names:
            value = getattr(self, name)
            if value is not None:
                check_count(name, value, least)


@dataclass(frozen=True, kw_only=True)
class CompileOptions(ModelOptions):
    """What a model is compiled for: `threads` (None: every core), `target` and `winograd` as in `compile`."""

    threads: int | None = None
    target: str = "native"
    winograd: bool = True

    def check(self) -> None:
        """Raise OptionError for what no model and no machine could make sense of."""
        super().check()
        self._check_least(1, "threads")


def check_count(name: str, value: object, least: int) -> None:
    """Raise OptionError for what is no whole number, or one below `least`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise OptionError(f"{name} is {value!r}: give a whole number")
    if value < least:
        raise OptionError(f"{name} is {value}: give at least {least}")
