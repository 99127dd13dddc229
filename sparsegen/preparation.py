"""What a verb is given, made ready: the model loaded and copied, pruned for a trial, exported to a graph."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch

from sparsegen.errors import PruningError
from sparsegen.frontend import from_torch, own_model, resolve_model
from sparsegen.graph import LayerGraph
from sparsegen.options import Fallback, ModelOptions
from sparsegen.progress import Steps
from sparsegen.pruning.masks import PrunedLayer, finalize
from sparsegen.pruning.prunable import Model
from sparsegen.pruning.structures import Structure

_log = logging.getLogger(__name__)

PREPARING_STEPS = 2
"""Steps that `prepare` reports."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A pruned model of our own, inputs that fit it, its layer graph, the modules that were pruned."""

    model: Model
    inputs: tuple[Any, ...]
    graph: LayerGraph
    pruned: frozenset[str]


def prepare(
    model: str | Model,
    example_inputs: tuple[Any, ...] | None,
    options: ModelOptions,
    *,
    structure: Structure,
    steps: Steps,
    fallback: Fallback = "torch",
) -> Prepared:
    """Load a model, or copy the caller's, prune it by `structure`, and export it as the options say.

    Raises ModelError for a model that cannot be loaded, or not be compiled, OptionError for a batch or input
    shape that it cannot have, and PruningError for one that cannot be pruned so.
    """
    with torch.no_grad():
        steps.begin("loading the model")
        found, inputs = resolve_model(model, example_inputs, options)
        own = own_model(found, inputs, in_place=found is not model)
        steps.begin("pruning and exporting")
        layers = _prune(own, structure)
        for note in (note for layer in layers for note in layer.notes):
            _log.warning("%s", note)
        names = frozenset(layer.name for layer in layers)
        # torch would otherwise multiply the weights by their masks in every call, on the clock.
        finalize(own)
        graph = from_torch(own, inputs, fallback=fallback)
        return Prepared(own, inputs, graph, names)


def _prune(model: Model, structure: Structure) -> tuple[PrunedLayer, ...]:
    """Prune a model; of one that stays as it is, first and last layer count where there are no others."""
    try:
        return structure.prune(model)
    except PruningError:
        if structure.sparsity > 0:
            raise
        return structure.prune(model, skip=())
