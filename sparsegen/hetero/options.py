"""The options of `sparsegen place`, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sparsegen.errors import OptionError
from sparsegen.hetero.rewriting.options import check_error
from sparsegen.options import Approximate, OneAtATime, check_approximate

GoalName = Literal["latency", "throughput"]
GranularityName = Literal["layer", "block", "model"]


@dataclass(frozen=True, kw_only=True)
class PlaceOptions(OneAtATime):
    """What is planned, and what becomes of the plan.

    The model: pruned to `structure` and `sparsity` first, as in `sparsegen compare`; 0 leaves it as it is.
    devices: a TOML file, None: this machine. run: inputs to run through the plan. simulate: simulate them,
    too, or in place of running them where `run` is 0. measure: False predicts what was not measured before.
    explain: an operator, or a layer, whose costs are told. export: whether all operators' costs are.
    approximate: errors of functions in our kernels, as in `sparsegen.compile`. rewrite: replace what the
    accelerators lack first, with `max_error` and `calibration` as in `sparsegen rewrite`.
    """

    structure: str = "unstructured"
    sparsity: float = 0.0
    devices: Path | None = None
    goal: GoalName = "latency"
    granularity: GranularityName = "layer"
    run: int = 0
    simulate: bool = False
    measure: bool = True
    approximate: Approximate = None
    rewrite: bool = False
    max_error: float | None = None
    calibration: Path | None = None
    explain: str | None = None
    export: bool = False

    def check(self) -> None:
        """Raise OptionError for what no machine could make sense of."""
        super().check()
        self._check_least(0, "run")
        if self.structure != PlaceOptions.structure and not self.sparsity:
            raise OptionError(f"structure is {self.structure!r}, and nothing is pruned: give a sparsity, too")
        if self.explain == "":
            raise OptionError("explain is '': give the name of an operator or a layer")
        check_approximate(self.approximate)
        check_error("max_error", self.max_error, least=0.0)
        if not self.rewrite and (self.max_error is not None or self.calibration is not None):
            raise OptionError("max_error and calibration are those of a rewriting: ask for rewrite, too")
        for name, value, choices in (
            ("goal", self.goal, GoalName),
            ("granularity", self.granularity, GranularityName),
        ):
            if value not in get_args(choices):
                raise OptionError(f"{name} is {value!r}: choose of {', '.join(get_args(choices))}")
