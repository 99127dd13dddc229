"""What became of the graphs of torch.compile: which were compiled for what, what fell back and why."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from torch._dynamo.utils import counters

from sparsegen.errors import warn
from sparsegen.runtime.program import LayerReport

Shape = tuple[int, ...]
_COUNTED = "sparsegen"


@dataclass(frozen=True)
class Compilation:
    """A graph for the concrete `shapes` of its tensors, `numbers` among its inputs, and weights of then.

    layers: one report a layer; none where the graph is not compiled.
    reason: why it is not; empty where it is.
    cached: whether it was found in the compile cache.
    seconds: that compiling, or finding that it cannot be, took.
    """

    shapes: tuple[Shape, ...]
    numbers: tuple[int | float | bool, ...] = ()
    layers: tuple[LayerReport, ...] = ()
    reason: str = ""
    cached: bool = False
    seconds: float = 0.0

    @property
    def torch(self) -> dict[str, int]:
        """Operators that torch computes between kernels, with their calls."""
        return dict(Counter(layer.operator for layer in self.layers if layer.operator))

    def __str__(self) -> str:
        shapes = ", ".join("x".join(map(str, shape)) or "scalar" for shape in self.shapes) or "no tensors"
        numbers = f", numbers {', '.join(map(str, self.numbers))}" if self.numbers else ""
        if self.reason:
            return f"{shapes}{numbers}: not compiled: {self.reason}"
        how = "found in the cache" if self.cached else "compiled"
        lines = [f"{shapes}{numbers}: {how} in {self.seconds:.1f} s, layers: {len(self.layers)}"]
        lines += [f"  {layer.name}: {layer.operator or layer.kernel}" for layer in self.layers]
        return "\n".join(lines)


@dataclass(frozen=True)
class GraphReport:
    """One graph of Dynamo's: its `number`, its operators, and what it was compiled for, the latest last.

    `fallbacks` are reasons for which calls went to torch or inductor, with the number of calls.
    """

    number: int
    operators: int
    compilations: tuple[Compilation, ...]
    fallbacks: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"graph {self.number}, operators: {self.operators}"]
        for each in self.compilations:
            lines += [f"  {line}" for line in str(each).splitlines()]
        lines += [f"  {calls} calls not compiled: {reason}" for reason, calls in self.fallbacks.items()]
        return "\n".join(lines)


class Reporting(Protocol):
    """A graph that tells what became of it."""

    def report(self) -> GraphReport:
        """What became of it so far."""


_graphs: list[weakref.ref[Reporting]] = []
_told: set[str] = set()
_number = 0


def report() -> tuple[GraphReport, ...]:
    """A report for every graph that torch.compile still has, in the order in which it made them."""
    graphs = [reference() for reference in _graphs]
    return tuple(graph.report() for graph in graphs if graph is not None)


def enrol(graph: Reporting) -> int:
    """Have a graph in the reports for as long as it lives; its number, from 1 on."""
    global _number
    _number += 1
    _graphs[:] = [each for each in _graphs if each() is not None]
    _graphs.append(weakref.ref(graph))
    count("graphs")
    return _number


def count(what: str) -> None:
    """Count an event where Dynamo counts its own: `torch._dynamo.utils.counters["sparsegen"]`."""
    counters[_COUNTED][what] += 1


def tell_of_fallback(reason: str, where: str) -> None:
    """Warn that graphs run in torch for a reason: once, and again after `forget`."""
    if reason not in _told:
        _told.add(reason)
        warn(f"torch.compile with the backend sparsegen runs a graph in {where}: {reason}")


def forget() -> None:
    """Forget all graphs and what was told: torch._dynamo.reset() says so."""
    _graphs.clear()
    _told.clear()
