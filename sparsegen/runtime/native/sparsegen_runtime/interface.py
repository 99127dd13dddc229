"""The functions of sparsegen.h, as Python calls them: errors are raised, sizes are lists."""

from __future__ import annotations

import ctypes
import functools
import operator
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsegen_runtime.errors import (
    NeedsTorchError,
    OptionError,
    OutOfMemoryError,
    ProgramError,
    SparsegenError,
    TargetError,
    ToolchainError,
)
from sparsegen_runtime.library import library

_MOST_EXTENTS = 16
MOST_THREADS = 4096

_KINDS = (
    ("the model needs torch", NeedsTorchError),
    ("this machine lacks", TargetError),
    ("no memory is left", OutOfMemoryError),
)
"""What C's messages of a kind say; all others are of a file that is not as it should be."""


class _Options(ctypes.Structure):
    _fields_ = (("size", ctypes.c_size_t), ("threads", ctypes.c_int), ("verify", ctypes.c_int))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_char_p),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int64 * _MOST_EXTENTS),
        ("bytes", ctypes.c_size_t),
    )


@dataclass(frozen=True)
class TensorForm:
    """An input or an output: its name, torch's name of its type, its shape, and the bytes that it takes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


@functools.cache
def functions() -> ctypes.CDLL:
    """The library with the functions' types. Raises ToolchainError where it is missing."""
    try:
        native = library()
        pointer, number, pointers = ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p)
        types: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "last_error": (ctypes.c_char_p, ()),
            "open": (pointer, (ctypes.c_char_p, ctypes.POINTER(_Options))),
            "close": (None, (pointer,)),
            "variants": (number, (pointer,)),
            "plan": (ctypes.c_char_p, (pointer, number, ctypes.c_void_p)),
            "inputs": (number, (pointer, number)),
            "outputs": (number, (pointer, number)),
            "input": (number, (pointer, number, number, ctypes.POINTER(_Tensor))),
            "output": (number, (pointer, number, number, ctypes.POINTER(_Tensor))),
            "context_new": (pointer, (pointer, number)),
            "context_free": (None, (pointer,)),
            "run": (number, (pointer, pointers, pointers)),
        }
        for name, (result, arguments) in types.items():
            function = getattr(native, f"sparsegen_{name}")
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise ToolchainError(
            f"the compiled part of sparsegen-runtime cannot be loaded: {error}; reinstall it with gcc"
        ) from error
    return native


def last_error() -> SparsegenError:
    """What was wrong when a function last failed in this thread."""
    message = functions().sparsegen_last_error().decode()
    for words, kind in _KINDS:
        if words in message:
            return kind(message)
    return ProgramError(message)


def checked_path(path: object) -> Path:
    """A path that a caller gives; raises OptionError for what is none."""
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise OptionError(f"path is {path!r}: give the path of a file that sparsegen wrote")
    return Path(path)


def open_model(path: str | os.PathLike[str], threads: int | None, verify: bool) -> int:
    """The model of a file; raises OptionError for a number of threads, and what `last_error` gives."""
    threads, given = _whole(threads), threads
    if given is not None and not 1 <= (threads or 0) <= MOST_THREADS:
        raise OptionError(
            f"threads is {given!r}: give 1 to {MOST_THREADS:,}, or nothing for as many as it was compiled for"
        )
    options = _Options(ctypes.sizeof(_Options), threads or 0, bool(verify))
    name = os.fsencode(path)
    if b"\0" in name:
        raise ProgramError(f"{os.fsdecode(path)!r} is no path: it has a zero byte")
    model: int | None = functions().sparsegen_open(name, ctypes.byref(options))
    if model is None:
        raise last_error()
    return model


def _whole(value: object) -> int | None:
    """The whole number that a value stands for, of any type of those; None for what is none."""
    try:
        return None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def own_teams() -> None:
    """Run on threads of this library's own, as a forked child has to: its parent's are gone."""
    functions().sparsegen_use_openmp(None, None, None)


def plan_of(model: int, variant: int) -> str:
    """The plan of a variant, as JSON."""
    text: bytes = functions().sparsegen_plan(model, variant, None)
    return text.decode()


def forms_of(model: int, variant: int) -> tuple[tuple[TensorForm, ...], tuple[TensorForm, ...]]:
    """The inputs and the outputs of a variant."""
    native = functions()
    return (
        _forms(model, variant, native.sparsegen_inputs, native.sparsegen_input),
        _forms(model, variant, native.sparsegen_outputs, native.sparsegen_output),
    )


def _forms(
    model: int, variant: int, count: Callable[..., int], tell: Callable[..., int]
) -> tuple[TensorForm, ...]:
    forms = []
    for number in range(count(model, variant)):
        tensor = _Tensor()
        if tell(model, variant, number, ctypes.byref(tensor)):
            raise last_error()
        shape = tuple(tensor.shape[: tensor.rank])
        forms.append(TensorForm(tensor.name.decode(), tensor.dtype.decode(), shape, tensor.bytes))
    return tuple(forms)


class Context:
    """What one thread at a time runs a variant with; arrays for the addresses are made once."""

    def __init__(self, model: int, variant: int, inputs: int, outputs: int) -> None:
        handle = functions().sparsegen_context_new(model, variant)
        if handle is None:
            raise last_error()
        self.handle: int = handle
        self._inputs: Any = (ctypes.c_void_p * inputs)()
        self._outputs: Any = (ctypes.c_void_p * outputs)()
        self._run = functions().sparsegen_run

    def run(self, inputs: list[int], outputs: list[int]) -> None:
        """Run on memory at addresses; raises SparsegenError where that fails."""
        self._inputs[:] = inputs
        self._outputs[:] = outputs
        if self._run(self.handle, self._inputs, self._outputs):
            raise last_error()
