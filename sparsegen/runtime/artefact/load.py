"""Models of files: by the runtime alone, or, where torch computes some of their operators, with torch."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from sparsegen_runtime import LoadedModel, NeedsTorchError
from sparsegen_runtime import load as load_alone

if TYPE_CHECKING:
    from sparsegen.runtime.batched import BatchedModel
    from sparsegen.runtime.model import CompiledModel

_log = logging.getLogger(__name__)


def load(
    path: str | os.PathLike[str], threads: int | None = None, verify: bool = False
) -> LoadedModel | CompiledModel | BatchedModel:
    """The model of a file that `compiled.save` or `sparsegen compile` wrote, ready to be called.

    **The file holds machine code: load only files whose origin you trust, as you would run a program.**

    It needs NumPy alone: no torch, no TVM, no compiler. `sparsegen_runtime.load` is the same where sparsegen
    itself is not installed. Only a model of which torch computes some operators needs torch, and is
    loaded as the model that was saved: a log says so.

    threads: that a call takes; None: as many as it was compiled for. verify: check the weights' sums too;
    those of plan and code always are.

    Raises ProgramError for a file that cannot be read, is damaged, or is of another version, TargetError
    where this machine lacks what its code needs, NeedsTorchError where torch is needed and missing,
    OptionError for what is no path, no number of threads or no truth value, OutOfMemoryError where no memory
    is left, and ToolchainError where part of an install is missing.
    """
    try:
        return load_alone(path, threads, verify)
    except NeedsTorchError:
        _log.info("%s needs torch, which computes some of its operators: torch and TVM are imported", path)
        return _with_torch(path, threads, verify)


def _with_torch(
    path: str | os.PathLike[str], threads: int | None, verify: bool
) -> CompiledModel | BatchedModel:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise NeedsTorchError(
            f"{path}: the model needs torch, which computes some of its operators and cannot be imported "
            f"({error}); install it"
        ) from error
    # They take seconds to import.
    from dataclasses import replace

    from sparsegen.options import check_thread_count
    from sparsegen.runtime.artefact.read import read_programs
    from sparsegen.runtime.batched import bind_batches
    from sparsegen.runtime.model import bind

    programs = read_programs(path, verify=verify)
    if threads is not None:
        threads = check_thread_count(threads)
        # Calls of stages have threads of their own; one after the other, they take any number.
        programs = [replace(program, threads=threads, stages=()) for program in programs]
    return bind(programs[0]) if len(programs) == 1 else bind_batches(programs)
