"""Runs models that sparsegen compiled, with numpy alone.

    import sparsegen_runtime
    model = sparsegen_runtime.load("model.sparsegen")
    scores = model(image)

**A file holds machine code: load only files whose origin you trust, as you would run a program.**
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsegen_runtime.errors import (
    InputError,
    NeedsTorchError,
    OptionError,
    OutOfMemoryError,
    ProgramError,
    SparsegenError,
    TargetError,
    ToolchainError,
)

if TYPE_CHECKING:
    from sparsegen_runtime.model import LoadedModel, load

__all__ = [
    "InputError",
    "LoadedModel",
    "NeedsTorchError",
    "OptionError",
    "OutOfMemoryError",
    "ProgramError",
    "SparsegenError",
    "TargetError",
    "ToolchainError",
    "load",
]


def __getattr__(name: str) -> Any:
    """What needs NumPy, which those who ask for errors alone need not wait for."""
    if name not in ("LoadedModel", "load"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sparsegen_runtime import model

    return getattr(model, name)
