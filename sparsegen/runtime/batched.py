"""One model for several batches: compiled once for each, called with any number of rows."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from sparsegen_runtime.batches import Family, Piece, families_of, pieces, without_batch
from torch.utils import _pytree

from sparsegen.errors import InputError
from sparsegen.runtime.arguments import leaves_of
from sparsegen.runtime.artefact.save import Saved, save_programs
from sparsegen.runtime.inputs import InputForm, checked_inputs
from sparsegen.runtime.model import CompiledModel, bind
from sparsegen.runtime.program import LayerReport, Program
from sparsegen.runtime.sharing import share_weights

_TIMED_RUNS = 3


def bind_batches(programs: Sequence[Program]) -> BatchedModel:
    """The model of programs that differ in the shapes of their inputs; raises as `model.bind` does."""
    return BatchedModel([bind(program) for program in share_weights(programs)])


class BatchedModel:
    """A model compiled for several batches, or image sizes; called as the torch model is.

    It runs the one that was compiled for the shapes of the inputs. Inputs of another number of rows are
    split, and padded with their last row, in the way that is the fastest: the first such call times the
    models. No row of a result may depend on other rows. Weights that are packed alike are there once.
    Several threads may call it at once.

    models: one a batch, in the order in which they were asked for. compile_seconds: of all together; 0 for
        programs that were bound alone.
    """

    def __init__(self, models: Sequence[CompiledModel]) -> None:
        self.models = tuple(models)
        self.compile_seconds = 0.0
        self._by_shapes: dict[Any, CompiledModel] = {}
        for model in models:
            self._by_shapes.setdefault(model.input_shapes, model)
        self._in_order = tuple(self._by_shapes.values())
        self._families = families_of([model.input_shapes for model in self._in_order])
        self._seconds: dict[int, Mapping[int, float]] = {}
        self._lock = threading.Lock()

    @property
    def layers(self) -> tuple[LayerReport, ...]:
        """The reports of the first model's layers; each of `models` has its own."""
        return self.models[0].layers

    @property
    def threads(self) -> int:
        """Threads that a call takes."""
        return self.models[0].threads

    def save(self, path: str | os.PathLike[str]) -> Saved:
        """Write all models into one file, as `CompiledModel.save` writes one; raises as that does."""
        return save_programs(path, [model.program for model in self.models])

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The model's result, as `CompiledModel` gives it, of any number of rows; raises as that does."""
        face = self.models[0].program.interface
        if named or not (face.call is None or face.call.is_flat):
            leaves: Sequence[Any] = leaves_of(face.call, inputs, named)
        else:
            leaves = inputs
        shapes = tuple(tuple(getattr(leaf, "shape", ())) for leaf in leaves)
        model = self._by_shapes.get(shapes)
        if model is not None:
            return model.run_on(leaves)
        if len(leaves) != len(face.inputs):
            return self.models[0].run_on(leaves)  # which says what is wrong
        return self._by_rows(leaves, shapes)

    def _by_rows(self, leaves: Sequence[Any], shapes: tuple[tuple[int, ...], ...]) -> Any:
        """The result of inputs whose rows several models compute."""
        family = self._families.get(without_batch(shapes))
        rows = None if family is None else family.rows_of(shapes)
        if family is not None and rows is None:
            names = [form.name for form in self.models[0].program.interface.inputs]
            raise InputError(family.differing(names, shapes))
        if family is None or not rows:
            return self._nearest(shapes).run_on(leaves)  # which says what is wrong
        models = {batch: self._in_order[number] for batch, number in family.variants.items()}
        first = next(iter(models.values())).program.interface
        _check_rows(models)
        forms = [
            InputForm(
                form.name, (rows, *form.shape[1:]) if batched else form.shape, getattr(torch, form.dtype)
            )
            for form, batched in zip(first.inputs, family.batched, strict=True)
        ]
        given = checked_inputs(leaves, forms)
        results = [
            (piece, models[piece.batch].run_on(_part(given, family, piece)))
            for piece in pieces(rows, self._times(models))
        ]
        return _joined(results, set(first.known))

    def _nearest(self, shapes: tuple[tuple[int, ...], ...]) -> CompiledModel:
        """The model with whose shapes the most inputs agree."""
        return max(
            self._in_order,
            key=lambda model: sum(a == b for a, b in zip(shapes, model.input_shapes, strict=True)),
        )

    def _times(self, models: Mapping[int, CompiledModel]) -> Mapping[int, float]:
        """Seconds of the models of a family, on zeros, measured once."""
        key = id(next(iter(models.values())))
        with self._lock:
            if key not in self._seconds:
                self._seconds[key] = {batch: _seconds(model) for batch, model in models.items()}
            return self._seconds[key]


def _seconds(model: CompiledModel) -> float:
    """The least seconds that some calls take."""
    zeros = [
        torch.zeros(form.shape, dtype=getattr(torch, form.dtype), device="cpu")
        for form in model.program.interface.inputs
    ]
    times = []
    for _ in range(_TIMED_RUNS + 1):  # the first one warms caches
        started = time.perf_counter()
        model.run_on(zeros)
        times.append(time.perf_counter() - started)
    return min(times)


def _check_rows(models: Mapping[int, CompiledModel]) -> None:
    """Raise InputError where a result has not as many rows as the batch."""
    if any(shape[:1] != (batch,) for batch, model in models.items() for shape in model.output_shapes):
        *most, last = map(str, sorted(models))
        raise InputError(
            "the model's results do not have a row for each of its inputs': give "
            f"{', '.join(most)} or {last} rows"
        )


def _part(leaves: Sequence[torch.Tensor], family: Family, piece: Piece) -> list[torch.Tensor]:
    """The rows of a piece of the inputs; the last one as often again as its batch takes."""
    part = []
    for leaf, batched in zip(leaves, family.batched, strict=True):
        if not batched:
            part.append(leaf)
            continue
        rows = leaf[piece.begin : piece.end]
        missing = piece.batch - len(rows)
        part.append(torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows)
    return part


def _joined(results: Sequence[tuple[Piece, Any]], known: set[int]) -> Any:
    """The results of pieces, one after the other; what is known is so in each."""
    flat = [_pytree.tree_flatten(result) for _, result in results]
    spec = flat[0][1]
    joined = [
        parts[0]
        if place in known
        else torch.cat(
            [part[: piece.end - piece.begin] for (piece, _), part in zip(results, parts, strict=True)]
        )
        for place, parts in enumerate(zip(*(leaves for leaves, _ in flat), strict=True))
    ]
    return _pytree.tree_unflatten(joined, spec)
