"""The options of a verb as one record, with its defaults; what the records of several verbs have in common.

The records import neither torch nor TVM: the command line takes its defaults from them, and starts at once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, cast, get_args

from sparsegen.errors import OptionError
from sparsegen.typed import plain_number, whole_number

Fallback = Literal["torch", "error"]
"""What becomes of operators without a kernel: torch itself computes them, or the model is refused."""

Approximate = float | Mapping[str, float] | None
"""Errors that approximations of functions may have: of all, or by the function's name; None: none is."""

APPROXIMATED = (
    *("elu", "erf", "gelu", "gelu_tanh", "hardswish", "log_sigmoid", "mish", "sigmoid", "silu", "softplus"),
    *("softsign", "tanh"),
)
"""Functions that may be approximated."""

DEFAULT_BATCH = 16
"""Images per call, where nobody says."""

MOST_THREADS = 4096
"""Threads that a model may have: native code keeps a few words for each on its stack."""


@dataclass(frozen=True)
class ExampleInput:
    """One input that a named model is called with: random numbers of a `dtype` of torch's.

    `shape` is one sample's, the batch goes before it; of a `whole` one, the batch is part of it. Without a
    `name` it is given by position.
    """

    shape: tuple[int, ...]
    name: str | None = None
    dtype: str = "float32"
    whole: bool = False

    def full_shape(self, batch: int) -> tuple[int, ...]:
        """The input's shape, batch first."""
        return self.shape if self.whole else (batch, *self.shape)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What a model that is given by name is called with: `batch` images of `input_shape` (C, H, W).

    A `batch` of None is `default_batch`, or a `.pt2` file's own; an `input_shape` of None is the model's own,
    where it tells. `inputs` are those of a model that takes others than one image, in place of
    `input_shape`.
    """

    default_batch: ClassVar[int] = DEFAULT_BATCH

    batch: Annotated[int | None, "Images per call."] = None
    input_shape: Annotated[tuple[int, ...] | None, "Shape of one image, such as (3, 224, 224)."] = None
    inputs: Annotated[tuple[ExampleInput, ...], "Inputs of a model that takes others."] = ()

    def __post_init__(self) -> None:
        """Make numbers of other types, such as NumPy's, Python's own, which JSON can hold."""
        for each in dataclasses.fields(self):
            object.__setattr__(self, each.name, plain_number(getattr(self, each.name)))

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
class OneAtATime(ModelOptions):
    """Those of verbs that look at one input at a time, where nobody says otherwise."""

    default_batch: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True)
class CompileOptions(ModelOptions):
    """What a model is compiled for: `threads` (None: every core), the others as in `compile`."""

    threads: int | None = None
    target: str = "native"
    winograd: bool = True
    fallback: Fallback = "torch"
    approximate: Approximate = None

    def check(self) -> None:
        """Raise OptionError for what no model and no machine could make sense of."""
        super().check()
        check_fallback(self.fallback)
        check_approximate(self.approximate)
        if self.threads is not None:
            check_thread_count(self.threads)


def check_fallback(fallback: object) -> None:
    """Raise OptionError for what is no way to treat operators without a kernel."""
    if fallback not in get_args(Fallback):
        raise OptionError(f"fallback is {fallback!r}: choose of {', '.join(get_args(Fallback))}")


def check_approximate(value: object) -> Approximate:
    """The errors that approximations may have, in Python's own numbers; OptionError for what is none."""
    if value is None:
        return None
    errors: Mapping[Any, object] = value if isinstance(value, Mapping) else {"": value}
    errors = {name: plain_number(error) for name, error in errors.items()}
    for name, error in errors.items():
        if isinstance(value, Mapping) and name not in APPROXIMATED:
            raise OptionError(
                f"approximate names {name!r}: these functions may be approximated: {', '.join(APPROXIMATED)}"
            )
        if not isinstance(error, int | float) or isinstance(error, bool) or not 0 < error < math.inf:
            of = f" of {name}" if name else ""
            raise OptionError(
                f"approximate is {error!r}{of}: give the largest error, a finite number above 0 such as 1e-3"
            )
    checked = cast("Mapping[str, float]", errors)
    return checked if isinstance(value, Mapping) else checked[""]


def check_batches(batches: object) -> tuple[int, ...]:
    """The batches; OptionError for what are none: whole numbers of at least 1, each once."""
    if not isinstance(batches, Sequence) or isinstance(batches, str) or not batches:
        raise OptionError(f"batches is {batches!r}: give a list of numbers, such as [1, 4, 16]")
    numbers = tuple(check_count("a batch", batch, 1) for batch in batches)
    if len(set(numbers)) < len(numbers):
        raise OptionError(f"batches is {batches!r}: give each of them once")
    return numbers


def check_thread_count(value: object) -> int:
    """The number of threads; OptionError for what is none that a model may have."""
    count = check_count("threads", value, 1)
    if count > MOST_THREADS:
        raise OptionError(f"threads is {count}: give at most {MOST_THREADS:,}")
    return count


def check_count(name: str, value: object, least: int) -> int:
    """The whole number, in Python's own type; OptionError for what is none, or is below `least`."""
    number = whole_number(value)
    if number is None:
        raise OptionError(f"{name} is {value!r}: give a whole number")
    if number < least:
        raise OptionError(f"{name} is {number}: give at least {least}")
    return number
