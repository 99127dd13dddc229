"""The errors that sparsegen raises, by kind: all of them are SparsegenError; and how it warns.

A message names the file, layer or operator, what was found, what is allowed, and what to do about it.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Those of a model that runs: they are the same with sparsegen_runtime alone.
from sparsegen_runtime.errors import InputError as InputError
from sparsegen_runtime.errors import NeedsTorchError as NeedsTorchError
from sparsegen_runtime.errors import OptionError as OptionError
from sparsegen_runtime.errors import OutOfMemoryError as OutOfMemoryError
from sparsegen_runtime.errors import ProgramError as ProgramError
from sparsegen_runtime.errors import SparsegenError as SparsegenError
from sparsegen_runtime.errors import TargetError as TargetError
from sparsegen_runtime.errors import ToolchainError as ToolchainError

_LONGEST = 300  # characters of a foreign message that are passed on


class ModelError(SparsegenError):
    """A model, or the example inputs that it is compiled for, that cannot be loaded or compiled."""


@dataclass(frozen=True)
class UnsupportedOperator:
    """An operator that a model uses and that is not supported, for one reason.

    `modules` are the paths of the modules that call it, each once, in the model's order; "" is the model
    itself.
    """

    operator: str
    modules: tuple[str, ...]
    reason: str


class UnsupportedOperatorError(ModelError):
    """The model uses operators outside the supported set; `operators` has all of them, in its order."""

    def __init__(self, message: str, operators: tuple[UnsupportedOperator, ...] = ()) -> None:
        super().__init__(message)
        self.operators = operators


class ScheduleError(SparsegenError):
    """A schedule that is given for a layer whose kernel cannot have it."""


class PruningError(SparsegenError):
    """Weights, layers or masks that cannot be pruned as asked."""


class RewritingError(SparsegenError):
    """A function that cannot be approximated, or an operator that cannot be rewritten, as asked."""


class JournalError(SparsegenError):
    """A tuning journal, or a file of exported schedules, that cannot be read, written or used."""


class FileError(SparsegenError):
    """A file of results that cannot be written."""


class CalibrationError(SparsegenError):
    """A file of a machine's measured speed that cannot be read."""


class DeviceError(SparsegenError):
    """A table of a device that cannot be read, or a device that cannot be had or run what it is given."""


class ProblemError(SparsegenError):
    """A scheduling problem that cannot be read, or that has no solution."""


class PlanError(SparsegenError):
    """A plan that cannot be read, is unsound, or is for another model or machine."""


class PredictionError(SparsegenError):
    """Costs that cannot be predicted, as too little was measured on this machine."""


class ExecutionError(SparsegenError):
    """An operator of a plan that failed, died or hung, on the `input` of this number."""

    def __init__(self, message: str, input: int | None = None) -> None:
        super().__init__(message)
        self.input = input


class MeasurementError(SparsegenError):
    """Something cannot be measured: no tracker, no server that fits, or a process that failed or died."""


class EngineError(SparsegenError):
    """Why another engine takes no part in a comparison."""


@contextmanager
def foreign_errors() -> Iterator[None]:
    """Turn the errors of the system, of torch and of TVM into SparsegenErrors; a context, or a decorator."""
    try:
        yield
    except SparsegenError:
        raise
    except (RuntimeError, OSError, MemoryError) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"no memory is left to compile the model ({reason}): free some") from error
        raise ToolchainError(
            f"torch, TVM or the system failed to compile the model ({reason}); if the install is sound, this "
            "is a fault of sparsegen: please report it with the model"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of the system's or of torch's, which has no type of its own for it, says so."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def first_line(error: BaseException) -> str:
    """The first line of what a foreign error says, in short, or its type where it says nothing."""
    line = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST].rpartition('. ')[0] or line[:_LONGEST]} ..."


_INSIDE = (f"{Path(__file__).parent}/", contextlib.__file__)


def warn(message: str) -> None:
    """Warn the user, at the line of theirs that called sparsegen."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
