"""What every measurement of a comparison shares: the target, the threads, the sample count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sparsegen.compare.report import ARTEFACT, OURS, Race
from sparsegen.compare.timing import Call, Stopwatch, time_in_turn
from sparsegen.compiler import compile_graph
from sparsegen.database.lookup import Database
from sparsegen.formats import SKIPPING
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

    def compile(self, graph: LayerGraph) -> tuple[CompiledModel, CompiledModel | None]:
        """Compile a graph as it is, and dense: without regard to the zeros among its weights.

        None stands for a dense one that is the very same code, as no kernel of the first skips zeros.
        """
        sparse, dense = self._compile(graph, dense=False), self._compile(graph, dense=True)
        return sparse, None if _same_code(sparse, dense) else dense

    def _compile(self, graph: LayerGraph, *, dense: bool) -> CompiledModel:
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
        torch: Mapping[str, Call],
        dense: Call | None,
        *,
        csr: Mapping[str, Call] | None = None,
        engines: Mapping[str, Stopwatch] | None = None,
        artefact: Call | None = None,
    ) -> Race:
        """Time our code in turn with torch's, our `dense` code, CSR products, other engines, and a file's.

        A `dense` of None is the very code of `sparse`, and has its times. Engines that fail are left out.
        """
        csr, engines = csr or {}, engines or {}
        ours = {} if dense is None else {OURS: dense}
        files = {} if artefact is None else {ARTEFACT: artefact}
        calls = {"sparse": sparse, **torch, **ours, **csr, **files}
        timings = time_in_turn(calls, elsewhere=engines, samples=self.samples)
        return Race(
            sparse=timings["sparse"],
            dense={**{name: timings[name] for name in torch}, OURS: timings.get(OURS, timings["sparse"])},
            csr={name: timings[name] for name in csr},
            engines={name: timings[name] for name in engines if name in timings},
            artefact=timings.get(ARTEFACT),
        )


def _same_code(sparse: CompiledModel, dense: CompiledModel) -> bool:
    """Whether kernels and schedules are the same, layer by layer, and none of them skips zeros."""
    found = [(report.kernel, report.format, report.schedule) for report in sparse.layers]
    if any(report.format in SKIPPING for report in sparse.layers):
        return False
    return found == [(report.kernel, report.format, report.schedule) for report in dense.layers]
