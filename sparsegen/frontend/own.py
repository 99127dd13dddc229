"""A model of our own to prune and to measure: nothing of the caller's changes with it."""

from __future__ import annotations

import copy

from torch import Tensor
from torch.export import ExportedProgram

from sparsegen.frontend.modules import (
    Model,
    check_exportable,
    has_plain_tensors,
    hold_weights,
    holds_program,
    plain_copy,
)
from sparsegen.frontend.program import export


def own_model(model: Model, example_inputs: tuple[Tensor, ...], *, in_place: bool = False) -> Model:
    """A copy of `model`, or itself, with weights that pruning finds: parameters, of layers or of a program.

    Weights that a norm or another parametrization computes become parameters, with their values of now;
    what torch.export made into a module, which has no layers, becomes a program again.

    Raises ModelError for a model that cannot be exported or copied.
    """
    if not isinstance(model, ExportedProgram):
        check_exportable(model)
        if not holds_program(model):
            own = model if in_place and has_plain_tensors(model) else plain_copy(model)
            hold_weights(own)
            return own
    program = export(model, example_inputs)
    return program if in_place else copy.deepcopy(program)
