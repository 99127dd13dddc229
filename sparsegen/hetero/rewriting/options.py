"""The options of `sparsegen rewrite`, with their defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from sparsegen.errors import OptionError
from sparsegen.options import OneAtATime

MAX_ERROR = 1e-3
"""That an approximated function may have, where nobody says."""


@dataclass(frozen=True, kw_only=True)
class RewriteOptions(OneAtATime):
    """A model, and the device that it is rewritten for: the name of a table, or a file with one.

    host: the table of what computes the rest, which counts in the predicted time alone. max_error: that the
    result of each replaced operator may have; 0: exact rules alone. end_to_end: that the model's results may
    have on calibration inputs; in place of `max_error`, which is then found for each operator.
    """

    device: str = ""
    host: str = "arm-a53x4"
    max_error: float | None = None
    end_to_end: float | None = None
    calibration: Path | None = None

    def check(self) -> None:
        """Raise OptionError for what no machine could make sense of."""
        super().check()
        check_error("max_error", self.max_error, least=0.0)
        check_error("end_to_end", self.end_to_end)
        if self.max_error is not None and self.end_to_end is not None:
            raise OptionError(
                "max_error bounds each operator, end_to_end the model's results: give one of them"
            )
        if self.end_to_end is not None and self.calibration is None:
            raise OptionError("end_to_end is an error on calibration inputs: give them, as .npy or .npz")


def check_error(name: str, value: object, least: float | None = None) -> None:
    """Raise OptionError for what is no error bound: above 0, or at least `least`; None passes."""
    if value is None:
        return
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or (number <= 0 if least is None else number < least):
        wanted = "a finite number above 0" if least is None else f"a finite number, at least {least:g}"
        raise OptionError(f"{name} is {value!r}: give {wanted}")
