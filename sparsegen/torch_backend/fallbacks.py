"""What runs a graph that is not compiled: torch, operator by operator, or its own compiler, or nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._dynamo.backends.registry import lookup_backend
from torch.fx import GraphModule

from sparsegen.errors import ModelError
from sparsegen.runtime.forks import ForkSafeLock
from sparsegen.torch_backend.binding import bind_numbers
from sparsegen.torch_backend.options import WholeFallback
from sparsegen.torch_backend.placeholders import Placeholders
from sparsegen.torch_backend.records import tell_of_fallback

_MOST_KEPT = 16


class Elsewhere:
    """Runs a graph as the option `fallback` says: with gradients, autocast and all, as torch does."""

    def __init__(self, graph: GraphModule, inputs: Placeholders, fallback: WholeFallback) -> None:
        self._graph = graph
        self._inputs = inputs
        self._fallback = fallback
        self._lock = ForkSafeLock()
        self._compiled: OrderedDict[tuple[Any, ...], Callable[..., Any]] = OrderedDict()

    def __call__(self, arguments: Sequence[Any], reason: str) -> Any:
        """The graph's results; one warning tells the reason.

        Raises ModelError with the reason where nothing else than a compiled model is to run it.
        """
        if self._fallback == "error":
            raise ModelError(
                f'{reason}. The option fallback="torch" of the backend sparsegen lets torch run such graphs'
            )
        tell_of_fallback(reason, self._fallback)
        if self._fallback == "torch":
            return self._graph(*arguments)
        fixed = {*self._inputs.numbers, *self._inputs.floats}
        others = [each for index, each in enumerate(arguments) if index not in fixed]
        return self._inductor(arguments, others)(*others)

    def _inductor(self, arguments: Sequence[Any], others: Sequence[Any]) -> Callable[..., Any]:
        """What inductor makes of the graph for inputs of these shapes."""
        numbers = self._inputs.fixed(arguments)
        shapes = tuple((each.shape, each.stride(), each.requires_grad) for each in others)
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
        key = (shapes, numbers, modes)
        with self._lock.lock:
            if key not in self._compiled:
                graph = bind_numbers(self._graph, self._inputs, arguments)
                self._compiled[key] = lookup_backend("inductor")(graph, list(others))
            self._compiled.move_to_end(key)
            while len(self._compiled) > _MOST_KEPT:
                self._compiled.popitem(last=False)
            return self._compiled[key]
