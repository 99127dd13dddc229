"""Why torch.export failed: what was raised, in which module, and what to do where that is known."""

from __future__ import annotations

import logging
import os
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import _trace
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from sparsegen.errors import ModelError, SparsegenError, ToolchainError, first_line
from sparsegen.files import temporary_room
from sparsegen.frontend.refusals import describe_path
from sparsegen.frontend.tensors import named_tensors, placement_problem, type_problem

_OURS, _TORCH = Path(__file__).parents[1], Path(torch.__file__).parent
_STANDARD = Path(sysconfig.get_path("stdlib"))
_PACKAGES = Path(sysconfig.get_path("purelib"))
_OPERATORS = (
    "__init__.py", "_decomp", "_export/non_strict_utils.py", "_meta_registrations.py", "_ops.py", "_prims",
    "_prims_common", "_refs", "_subclasses", "functional.py", "fx/experimental/proxy_tensor.py", "nn",
)  # fmt: skip
"""Parts of torch in which an operator, or a layer of torch's own, that cannot take its operands raises."""

Place = tuple[FrameType, int]
"""A frame of a traceback, and the line in it."""


def export_failure(error: Exception, model: nn.Module, example_inputs: Sequence[Any]) -> SparsegenError:
    """The error that tells why torch.export failed on `model`; inputs may be numbers and None, too."""
    places = list(traceback.walk_tb(error.__traceback__))
    path = _failing_module(places, model)
    where = describe_path(path) + _line(places)
    shapes = ", ".join(str(tuple(value.shape)) for value in example_inputs if isinstance(value, Tensor))
    reason = first_line(error)
    if isinstance(error, OSError) and _is_temporary(error.filename):  # torch keeps a folder there
        return ToolchainError(f"torch.export failed on a file ({error}); {temporary_room()}")
    if _is_own_code(places):
        return ModelError(
            f"{where} raised {type(error).__name__}: {reason} (called by torch.export, with inputs of shapes "
            f"{shapes})"
        )
    for name, tensor in named_tensors(model, path):
        if problem := placement_problem(name, tensor) or type_problem(name, tensor):
            return ModelError(problem)
    return ModelError(
        f"torch.export cannot trace {type(model).__name__} on inputs of shapes {shapes}: {reason}, in {where}"
        f"{_advice(error, places)}"
    )


def _is_temporary(path: object) -> bool:
    """Whether an error's file is where temporary files go."""
    return isinstance(path, str) and Path(path).is_relative_to(tempfile.gettempdir())


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Keep torch.export from logging and printing, with tracebacks and graphs, what it raises as well.

    Not where the environment's TORCH_LOGS asks for logs.
    """
    if "TORCH_LOGS" in os.environ:
        yield
        return
    loggers = [
        logger
        for name, logger in logging.root.manager.loggerDict.items()
        if name.split(".")[0] == "torch" and isinstance(logger, logging.Logger)
    ]
    handlers = {handler for logger in loggers for handler in logger.handlers}
    silent = _Silent()
    for handler in handlers:
        handler.addFilter(silent)
    # The module prints the graph of a failed trace to stderr, with no way to turn it off.
    vars(_trace)["print"] = lambda *_, **__: None
    try:
        yield
    finally:
        vars(_trace).pop("print", None)
        for handler in handlers:
            handler.removeFilter(silent)


class _Silent(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return False


def _advice(error: Exception, places: Sequence[Place]) -> str:
    if isinstance(error, GuardOnDataDependentSymNode):
        return (
            ", where a tensor's value decides. Control flow must not depend on values: compile every branch "
            "as a model of its own"
        )
    if "numpy" in str(error):
        return ". Values must not leave torch on their way: use torch's operators in place of NumPy's"
    if "is not a known type" in str(error):
        return (
            ". Return tuples, lists or dicts of tensors, or call torch.export.register_dataclass on the class"
        )
    innermost = Path(places[-1][0].f_code.co_filename)
    by_operator = any(innermost.is_relative_to(_TORCH / part) for part in _OPERATORS)
    refused = isinstance(error, RuntimeError | ValueError | IndexError | AssertionError)
    if by_operator and refused and not isinstance(error, NotImplementedError):
        return ". Check the input shapes"
    return ""


def _failing_module(places: Sequence[Place], model: nn.Module) -> str:
    """Path of the innermost module of the model that was being called; "" for the model itself."""
    paths = {id(module): path for path, module in model.named_modules()}
    callers = (id(frame.f_locals.get("self")) for frame, _ in reversed(places))
    return next((paths[caller] for caller in callers if caller in paths), "")


def _line(places: Sequence[Place]) -> str:
    """The line of the user's code that was run last: ` (models.py, line 12)`."""
    for frame, line in reversed(places):
        if _is_own(Path(frame.f_code.co_filename)):
            return f" ({Path(frame.f_code.co_filename).name}, line {line})"
    return ""


def _is_own_code(places: Sequence[Place]) -> bool:
    """Whether the model's own code raised the error, or what it called that is not torch's."""
    for frame, _ in reversed(places):
        file = Path(frame.f_code.co_filename)
        if not _is_standard(file):
            return not file.is_relative_to(_TORCH)
    return False


def _is_own(file: Path) -> bool:
    return (
        not (file.is_relative_to(_TORCH) or file.is_relative_to(_OURS) or _is_standard(file))
        and file.exists()
    )


def _is_standard(file: Path) -> bool:
    return file.is_relative_to(_STANDARD) and not file.is_relative_to(_PACKAGES)
