"""One graph of Dynamo's as a function: a call runs a compilation for its shapes and weights, or torch."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import GraphModule

from sparsegen.errors import ModelError
from sparsegen.runtime.forks import ForkSafeLock
from sparsegen.runtime.program import LayerReport
from sparsegen.torch_backend.binding import bind_weights
from sparsegen.torch_backend.compilation import compile_bound
from sparsegen.torch_backend.fallbacks import Elsewhere
from sparsegen.torch_backend.options import BackendOptions
from sparsegen.torch_backend.placeholders import read_placeholders
from sparsegen.torch_backend.records import Compilation, GraphReport, count, enrol
from sparsegen.torch_backend.refusals import call_fault, gives_gradients, graph_fault
from sparsegen.torch_backend.weights import WeightState, uncounted

MOST_KEPT = 16
"""Compilations that a graph keeps, those used last: each has a copy of the weights."""
_MOST_TOLD = 64
"""Compilations that a report tells of, the latest."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Kept:
    """What calls of one kind are handed to: by the `sizes` of their inputs, and by weights."""

    sizes: tuple[Any, ...]
    weights: WeightState
    run: Callable[..., Any] | None  # None: torch's to run, for a reason
    reason: str = ""


class DispatchedGraph:
    """A graph of Dynamo's, called as Dynamo does: with weights, tensors and numbers in the graph's order.

    A call is compiled for, once: for the shapes of its tensors, its numbers and the weights as they are. Then
    weights that are the same and that nobody wrote to since, and the same shapes, find it again.
    Several threads may call it at once; one compiles, and others wait for it.
    """

    def __init__(self, graph: GraphModule, options: BackendOptions) -> None:
        self._graph = graph
        self._options = options
        self._inputs = inputs = read_placeholders(graph)
        self._weights, self._tensors = tuple(inputs.weights), inputs.tensors
        self._fault = graph_fault(graph)
        self._gives_gradients = gives_gradients(graph)
        self._elsewhere = Elsewhere(graph, inputs, options.fallback)
        self._kept: tuple[_Kept, ...] = ()
        self._compiling, self._counting = ForkSafeLock(), ForkSafeLock()
        self._compilations: list[Compilation] = []
        self._fallbacks: Counter[str] = Counter()
        self._operators = sum(node.op.startswith("call_") for node in graph.graph.nodes)
        self._number = enrol(self)

    def __call__(self, *arguments: Any) -> Any:
        """The graph's results, each with memory of its own.

        Raises what `sparsegen.compile` raises, but for a ModelError, which says that this model is not one to
        compile: then torch runs the graph, unless the option `fallback` is "error".
        """
        weights = [arguments[index] for index in self._weights]
        tensors = [arguments[index] for index in self._tensors]
        if reason := self._fault or call_fault([*weights, *tensors], gives_gradients=self._gives_gradients):
            return self._run_elsewhere(arguments, reason)
        sizes = (*(each.shape for each in tensors), *self._inputs.fixed(arguments))
        kept = self._find(sizes, weights)
        if kept is None:
            kept = self._made(sizes, weights, tensors, arguments)
        if kept.run is None:
            return self._run_elsewhere(arguments, kept.reason)
        return kept.run(tensors)

    def report(self) -> GraphReport:
        """What became of the graph so far."""
        with self._counting.lock:
            return GraphReport(
                self._number, self._operators, tuple(self._compilations), dict(self._fallbacks)
            )

    def _run_elsewhere(self, arguments: Sequence[Any], reason: str) -> Any:
        with self._counting.lock:
            self._fallbacks[reason] += 1
        return self._elsewhere(arguments, reason)

    def _find(self, sizes: tuple[Any, ...], weights: Sequence[Any]) -> _Kept | None:
        """What is kept for such a call. Without the lock: the tuple is another when it changes."""
        for kept in self._kept:
            if kept.sizes == sizes and kept.weights.holds(weights):
                if kept is not self._kept[0]:
                    self._to_front(kept)
                return kept
        return None

    def _to_front(self, kept: _Kept) -> None:
        with self._compiling.lock:
            if kept in self._kept:
                self._kept = (kept, *(each for each in self._kept if each is not kept))

    def _made(
        self, sizes: tuple[Any, ...], weights: list[Any], tensors: list[Any], arguments: Sequence[Any]
    ) -> _Kept:
        """A new compilation, or that of a thread that came first; the oldest and the past ones go."""
        with self._compiling.lock:
            for kept in self._kept:
                if kept.sizes == sizes and kept.weights.holds(weights):
                    return kept
            if reason := uncounted(weights):
                return _Kept(sizes, WeightState(()), None, reason)
            made = self._compiled(sizes, weights, tensors, arguments)
            others = (each for each in self._kept if not each.weights.is_past(weights))
            self._kept = (made, *others)[:MOST_KEPT]
            return made

    def _compiled(
        self, sizes: tuple[Any, ...], weights: list[Any], tensors: list[Any], arguments: Sequence[Any]
    ) -> _Kept:
        started = time.perf_counter()
        shapes = tuple(tuple(each.shape) for each in tensors)
        numbers = self._inputs.fixed(arguments)
        state = WeightState(weights)  # before they are read: what is written meanwhile makes this one past
        run: Callable[..., Any] | None = None
        layers: tuple[LayerReport, ...] = ()
        cached, reason = False, ""
        try:
            bound = bind_weights(self._graph, self._inputs, arguments, self._inputs.weights)
            model, cached = compile_bound(bound, tensors, self._options)
            layers, run = model.layers, model.run_on
        except ModelError as error:
            if self._options.fallback == "error":
                raise
            reason = str(error)
        count("not compiled" if reason else "found in the cache" if cached else "compiled")
        seconds = time.perf_counter() - started
        told = Compilation(shapes, numbers, layers, reason, cached, seconds)
        with self._counting.lock:
            self._compilations = [*self._compilations, told][-_MOST_TOLD:]
        _log.info("graph %d: %s", self._number, told)
        return _Kept(sizes, state, run, reason)
