"""A variant of a model that is open: its plan, its forms, and a context for every thread that runs it."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from sparsegen_runtime.errors import InputError
from sparsegen_runtime.interface import Context, forms_of, functions, plan_of
from sparsegen_runtime.tensors import PlainForm

_TIMED_RUNS = 3


class Variant:
    """One plan for one CPU, number of threads and shapes of inputs. Several threads may run it at once.

    inputs, outputs: their forms; what a result has beside outputs is `known`.
    """

    def __init__(self, model: int, number: int) -> None:
        self._model: int | None = model
        self._number = number
        inputs, outputs = forms_of(model, number)
        self.inputs, self.outputs = tuple(map(PlainForm, inputs)), tuple(map(PlainForm, outputs))
        self.input_shapes = tuple(form.shape for form in self.inputs)
        self._contexts: list[Context] = []  # both its ends are safe to use from several threads
        self._all: list[int] = []

    @functools.cached_property
    def plan(self) -> dict[str, Any]:
        """The plan, as JSON has it."""
        plan: dict[str, Any] = json.loads(plan_of(self._opened(), self._number))
        return plan

    @property
    def target(self) -> str:
        """LLVM's name of the CPU."""
        return str(self.plan["target"])

    @property
    def threads(self) -> int:
        """Threads that it was compiled for."""
        return int(self.plan["threads"])

    @property
    def layers(self) -> tuple[Mapping[str, Any], ...]:
        """What became of each layer."""
        return tuple(self.plan["layers"])

    def run(self, inputs: list[int], outputs: list[int]) -> None:
        """Run on memory at addresses. Raises SparsegenError where that fails."""
        try:
            context = self._contexts.pop()
        except IndexError:
            context = self._new_context()
        try:
            context.run(inputs, outputs)
        finally:
            self._contexts.append(context)

    def prepare(self) -> None:
        """Make the first context, which loads code and weights, before it is needed."""
        if not self._all:
            self._contexts.append(self._new_context())

    def _new_context(self) -> Context:
        context = Context(self._opened(), self._number, len(self.inputs), len(self.outputs))
        self._all.append(context.handle)
        return context

    def _opened(self) -> int:
        if self._model is None:
            raise InputError("the model is closed: load it again")
        return self._model

    def seconds(self) -> float:
        """The least seconds that some runs on zeros take."""
        taken = [np.zeros(form.nbytes, np.uint8) for form in (*self.inputs, *self.outputs)]
        addresses = [each.ctypes.data for each in taken]
        inputs, outputs = addresses[: len(self.inputs)], addresses[len(self.inputs) :]
        times = []
        for _ in range(_TIMED_RUNS + 1):  # the first one warms caches
            started = time.perf_counter()
            self.run(inputs, outputs)
            times.append(time.perf_counter() - started)
        return min(times)

    def free(self) -> None:
        """Free the contexts, none of which is running: the model is about to be closed."""
        self._model = None
        for handle in self._all:
            functions().sparsegen_context_free(handle)
        self._all.clear()
        self._contexts.clear()
