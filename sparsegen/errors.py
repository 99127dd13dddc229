"""The errors that sparsegen raises, by kind: all of them are SparsegenError.

A message names the file, layer or operator, what was found, what is allowed, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class SparsegenError(Exception):
    """The base of every error that sparsegen raises on purpose."""


class ModelError(SparsegenError):
    """A model, or the example inputs that it is compiled for, that cannot be loaded or compiled."""


class UnsupportedOperatorError(ModelError):
    """The model uses an operator outside the supported set."""


class InputError(SparsegenError):
    """What a compiled model is called with does not fit what it was compiled for."""


class OptionError(SparsegenError):
    """An option that is not one of those allowed, or that does not go with another one."""


class TargetError(OptionError):
    """A CPU that LLVM does not know, that sparsegen generates no code for, or that is not this machine's."""


class ScheduleError(SparsegenError):
    """A schedule that is given for a layer whose kernel cannot have it."""


class PruningError(SparsegenError):
    """Weights, layers or masks that cannot be pruned as asked."""


class JournalError(SparsegenError):
    """A tuning journal, or a file of exported schedules, that cannot be read, written or used."""


class FileError(SparsegenError):
    """A file of results that cannot be written."""


class ToolchainError(SparsegenError):
    """Something needed here is missing, full or failing: gcc, room for files, part of an install, TVM."""


class OutOfMemoryError(SparsegenError, MemoryError):
    """The system has no memory left for weights, activations or results."""


class MeasurementError(SparsegenError):
    """Schedules cannot be measured: no tracker, no server, or servers that do not fit."""


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
        # torch has no type of its own for it.
        if isinstance(error, MemoryError) or "can't allocate memory" in reason:
            raise OutOfMemoryError(f"no memory is left to compile the model ({reason}): free some") from error
        raise ToolchainError(
            f"torch, TVM or the system failed to compile the model ({reason}); if the install is sound, this "
            "is a fault of sparsegen: please report it with the model"
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its type where it says nothing: for messages of our own."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
