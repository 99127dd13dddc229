"""The errors that sparsegen raises, by kind: all of them are SparsegenError.

A message names the file, layer or operator, what was found, what is allowed, and what to do about it.
"""


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
    """Something needed here is missing or full: gcc, room for temporary files, a part of an install."""


class MeasurementError(SparsegenError):
    """Schedules cannot be measured: no tracker, no server, or servers that do not fit."""


class EngineError(SparsegenError):
    """Why another engine takes no part in a comparison."""
