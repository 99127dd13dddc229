"""sparsegen: a compiler for pruned PyTorch models on x86 CPUs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sparsegen.compare import Comparison, compare
from sparsegen.errors import (
    CalibrationError,
    DeviceError,
    EngineError,
    ExecutionError,
    FileError,
    InputError,
    JournalError,
    MeasurementError,
    ModelError,
    NeedsTorchError,
    OptionError,
    OutOfMemoryError,
    PlanError,
    PredictionError,
    ProblemError,
    ProgramError,
    PruningError,
    RewritingError,
    ScheduleError,
    SparsegenError,
    TargetError,
    ToolchainError,
    UnsupportedOperatorError,
)
from sparsegen.lazy import lazy_names

if TYPE_CHECKING:
    from sparsegen.compiler import compile
    from sparsegen.inspection import Inspection, inspect
    from sparsegen.pruning import prune
    from sparsegen.runtime.artefact.load import load
    from sparsegen.runtime.batched import BatchedModel
    from sparsegen.runtime.model import CompiledModel
    from sparsegen.runtime.program import LayerReport
    from sparsegen.runtime.saving import save
    from sparsegen.tuner import TuneOptions, tune

__all__ = [
    "BatchedModel",
    "CalibrationError",
    "Comparison",
    "CompiledModel",
    "DeviceError",
    "EngineError",
    "ExecutionError",
    "FileError",
    "InputError",
    "Inspection",
    "JournalError",
    "LayerReport",
    "MeasurementError",
    "ModelError",
    "NeedsTorchError",
    "OptionError",
    "OutOfMemoryError",
    "PlanError",
    "PredictionError",
    "ProblemError",
    "ProgramError",
    "PruningError",
    "RewritingError",
    "ScheduleError",
    "SparsegenError",
    "TargetError",
    "ToolchainError",
    "TuneOptions",
    "UnsupportedOperatorError",
    "compare",
    "compile",
    "inspect",
    "load",
    "prune",
    "save",
    "tune",
]

# Quiet unless the program that uses sparsegen, or `sparsegen --verbose`, adds a handler.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# torch and TVM take seconds to import, which `sparsegen --help` need not wait for.
__getattr__ = lazy_names(
    __name__,
    {
        "BatchedModel": "sparsegen.runtime.batched",
        "CompiledModel": "sparsegen.runtime.model",
        "Inspection": "sparsegen.inspection",
        "LayerReport": "sparsegen.runtime.program",
        "TuneOptions": "sparsegen.tuner",
        "compile": "sparsegen.compiler",
        "inspect": "sparsegen.inspection",
        "load": "sparsegen.runtime.artefact.load",
        "prune": "sparsegen.pruning",
        "save": "sparsegen.runtime.saving",
        "tune": "sparsegen.tuner",
    },
)
