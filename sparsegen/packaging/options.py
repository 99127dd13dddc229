"""The options of `sparsegen compile`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from sparsegen.errors import OptionError
from sparsegen.options import CompileOptions, check_batches


@dataclass(frozen=True, kw_only=True)
class PackageOptions(CompileOptions):
    """What is compiled into a file: a variant for each of `targets` and `batches`.

    `batches` of None is `batch` alone. Where a `structure` or a `sparsity` is given, the model is pruned to
    it for a trial, as by `compare`; `weights` are a state dict to load first. `threads` (None: every core of
    this machine) and the others are as in `compile`.
    """

    default_batch: ClassVar[int] = 1

    targets: Annotated[tuple[str, ...], "LLVM's names of CPUs."] = ("native",)
    batches: Annotated[tuple[int, ...] | None, "Batches that it serves, and all between."] = None
    structure: str | None = None
    sparsity: float | None = None
    weights: Path | None = None

    def check(self) -> None:
        """Raise OptionError for what no model and no machine could make sense of."""
        super().check()
        if self.target != PackageOptions.target:
            raise OptionError("targets tell all CPUs: leave target out")
        if self.batches is not None:
            check_batches(self.batches)
            if self.batch is not None:
                raise OptionError("batches tell all batches: leave batch out")
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise OptionError(f"targets is {', '.join(self.targets) or 'empty'}: give each CPU once")
