"""One model for several batches: example inputs of each, and programs whose batch is dynamic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree

from sparsegen.errors import ModelError
from sparsegen.frontend.calls import tensor_inputs
from sparsegen.frontend.examples import leaves
from sparsegen.frontend.modules import Model

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def of_batch(args: tuple[Any, ...], kwargs: Mapping[str, Any], batch: int) -> Arguments:
    """The example inputs with so many rows: those of all tensors that have as many as the first one.

    Rows are left out, or come again. Raises ModelError where the first tensor has no rows.
    """
    first = next((each for each in leaves(args, kwargs) if isinstance(each, torch.Tensor)), None)
    if first is None or not first.dim() or not len(first):
        raise ModelError(
            "the first example input has no rows: batches are for a model that takes a tensor whose first "
            "dimension is the batch"
        )
    rows = len(first)

    def resized(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.dim() or len(value) != rows:
            return value
        return value[torch.arange(batch) % rows]

    found: Arguments = _pytree.tree_map(resized, (args, dict(kwargs)))
    return found


def has_dynamic_batch(program: ExportedProgram) -> bool:
    """Whether one size is dynamic, and is the first of every input that has it, and nothing else is."""
    return has_one_dynamic_batch([tuple(node.meta["val"].shape) for node in tensor_inputs(program)])


def has_one_dynamic_batch(shapes: Sequence[Sequence[Any]]) -> bool:
    """The same, of the inputs' shapes."""
    firsts = {str(shape[0]) for shape in shapes if shape and not isinstance(shape[0], int)}
    return len(firsts) == 1 and all(isinstance(size, int) for shape in shapes for size in shape[1:])


def for_any_batch(model: Model) -> Model:
    """The model as one that can be exported for any batch: the module of a program whose batch is dynamic."""
    if isinstance(model, ExportedProgram) and has_dynamic_batch(model):
        return model.module()
    return model
