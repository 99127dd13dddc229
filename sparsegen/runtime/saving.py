"""Several compiled models in one file."""

from __future__ import annotations

import os
from collections.abc import Iterable

from sparsegen.errors import OptionError
from sparsegen.runtime.artefact.save import Saved, save_programs
from sparsegen.runtime.batched import BatchedModel
from sparsegen.runtime.model import CompiledModel


def save(path: str | os.PathLike[str], models: Iterable[CompiledModel | BatchedModel]) -> Saved:
    """Write compiled models of one network, for other CPUs, threads, batches or image sizes, into one file.

    Equal weights, code and plans are there once. `sparsegen.load` takes what suits machine and inputs. The
    file is written whole or not at all. Returns what was stored.

    Raises FileError where it cannot be written, OptionError for what is no path or no compiled model, for
    none, and for two of a kind, and ProgramError for models of several networks, and where they take or
    return a class that cannot be written down.
    """
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise OptionError(f"path is {path!r}: give the path of the file to write")
    if not isinstance(models, Iterable):
        raise OptionError(
            f"a {type(models).__name__} is given: give a list of what sparsegen.compile returns"
        )
    programs = []
    for model in models:
        if isinstance(model, BatchedModel):
            programs += [each.program for each in model.models]
        elif isinstance(model, CompiledModel):
            programs.append(model.program)
        else:
            raise OptionError(f"a {type(model).__name__} is given: save what sparsegen.compile returns")
    return save_programs(path, programs)
