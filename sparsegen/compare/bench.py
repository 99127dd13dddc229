"""What every measurement of a comparison shares: the target, the threads, the sample count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sparsegen.compare.report import Race
from sparsegen.compare.timing import Call, Stopwatch, time_in_turn
from sparsegen.compiler import compile_graph
from sparsegen.database.lookup import Database
from sparsegen.graph import LayerGraph
from sparsegen.runtime.model import CompiledModel


@dataclass(frozen=True)
class Bench:
    """One way of compiling and timing; `peak_gflops` is the FMA peak of its threads together.

    Sparse and dense code alike take their schedules from `database`.
    """

    target: str
    threads: int
    samples: int
    peak_gflops: float
    database: Database
    winograd: bool

    def compile(self, graph: LayerGraph, *, dense: bool) -> CompiledModel:
        """Compile a graph; `dense` ignores the zeros among its weights."""
        return compile_graph(
            graph,
            threads=self.threads,
            target=self.target,
            dense=dense,
            database=self.database,
            winograd=self.winograd,
        )

    def race(
        self,
        sparse: Call,
        dense: Mapping[str, Call],
        *,
        csr: Mapping[str, Call] | None = None,
        engines: Mapping[str, Stopwatch] | None = None,
    ) -> Race:
        """Time our sparse code in turn with its dense rivals and, where given, CSR ones and other engines."""
        csr, engines = csr or {}, engines or {}
        timings = time_in_turn({"sparse": sparse, **dense, **csr}, elsewhere=engines, samples=self.samples)
        return Race(
            sparse=timings["sparse"],
            dense={name: timings[name] for name in dense},
            csr={name: timings[name] for name in csr},
            engines={name: timings[name] for name in engines},
        )
