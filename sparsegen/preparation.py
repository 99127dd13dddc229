"""What a verb is given, made ready: the model loaded and copied, pruned for a trial, exported to a graph."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsegen.frontend import from_torch, resolve_model
from sparsegen.graph import LayerGraph
from sparsegen.progress import Steps
from sparsegen.pruning.masks import finalize
from sparsegen.pruning.prunable import Model
from sparsegen.pruning.structures import Structure

PREPARING_STEPS = 2
"""Steps that `prepare` reports."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A pruned model of our own, inputs that fit it, its layer graph, the modules that were pruned."""

    model: Model
    inputs: tuple[Tensor, ...]
    graph: LayerGraph
    pruned: frozenset[str]


def prepare(
    model: str | Model,
    example_inputs: tuple[Tensor, ...] | None,
    *,
    structure: Structure,
    batch: int,
    input_shape: tuple[int, ...] | None,
    steps: Steps,
) -> Prepared:
    """Load a model, or copy the caller's, prune it by `structure`, and export it.

    Raises SparsegenError for a model that cannot be loaded, or not be compiled.
    """
    with torch.no_grad():
        steps.begin("loading the model")
        found, inputs = resolve_model(model, example_inputs, batch=batch, input_shape=input_shape)
        own = _copy(found) if found is model else found
        steps.begin("pruning and exporting")
        names = frozenset(layer.name for layer in structure.prune(own))
        # torch would otherwise multiply the weights by their masks in every call, on the clock.
        finalize(own)
        return Prepared(own, inputs, from_torch(own, inputs), names)


def _copy(model: Model) -> Model:
    """A deep copy, of a model in training too: torch copies no tensor that gradients flow through.

    Such are the weights that masks of `torch.nn.utils.prune` have left in the modules' attributes.
    """
    modules = model.modules() if isinstance(model, nn.Module) else ()
    attributes = [value for module in modules for value in vars(module).values()]
    computed = [value for value in attributes if isinstance(value, Tensor) and not value.is_leaf]
    return copy.deepcopy(model, {id(value): value.detach().clone() for value in computed})
