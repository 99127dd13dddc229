"""The errors of running a compiled model, by kind: all of them are SparsegenError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class SparsegenError(Exception):
    """The base of every error that sparsegen raises on purpose."""


class InputError(SparsegenError):
    """What a compiled model is called with does not fit what it was compiled for.

    input: in a stream, the number of the input that does not fit, counted from 0; None for a call.
    """

    input: int | None = None

    def of_input(self, number: int) -> InputError:
        """The same error, of the input of a number."""
        told = InputError(f"input {number}: {self}")
        told.input = number
        return told


class OptionError(SparsegenError):
    """An option that is not one of those allowed, or that does not go with another one."""


class TargetError(OptionError):
    """A CPU that LLVM does not know, that sparsegen generates no code for, or that is not this machine's."""


class ProgramError(SparsegenError):
    """A compiled program that cannot be written down, read or run."""


class NeedsTorchError(ProgramError):
    """A saved model some operators of which torch computes: `sparsegen.load` runs it, where torch is."""


class ToolchainError(SparsegenError):
    """Something needed here is missing, full or failing: gcc, room for files, part of an install, TVM."""


class OutOfMemoryError(SparsegenError, MemoryError):
    """The system has no memory left for weights, activations or results."""


class DamageError(ValueError):
    """What is wrong with a part of a file, for `read_from` to tell."""


@contextmanager
def read_from(path: Any) -> Iterator[None]:
    """Turn what Python raises for a part of a file that is not as it should be into a ProgramError."""
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ProgramError(f"{path}: the file is damaged: {_found(error)}; write the file again") from error


def _found(error: Exception) -> str:
    """What is wrong with a part, in our words: Python's own are of no use to who has the file."""
    if isinstance(error, DamageError):
        return str(error)
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return f"a part of it has no {error.args[0]!r}"
    return "a part of it is not what this version reads"
