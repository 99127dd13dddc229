"""The options of `inspect`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sparsegen.options import CompileOptions


@dataclass(frozen=True, kw_only=True)
class InspectOptions(CompileOptions):
    """The options of an inspection: what the model would be compiled for, and nothing else.

    `batch` and `input_shape` go with a model that is given by name; `threads` (None: every core), `target`,
    `winograd`, `approximate` and `calibration` are as in `compile`.
    """

    calibration: str | os.PathLike[str] | None = None
