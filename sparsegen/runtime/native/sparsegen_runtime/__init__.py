"""Runs models that sparsegen compiled, with numpy alone.

    import sparsegen_runtime
    model = sparsegen_runtime.load("model.sparsegen")
    scores = model(image)

**A file holds machine code: load only files whose origin you trust, as you would run a program.**
"""

from __future__ import annotations

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
