"""A comparison from end to end: load, prune, compile, time every layer, then the network."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from sparsegen.compare.bench import Bench
from sparsegen.compare.layer import LAYER_STEPS, compare_layer
from sparsegen.compare.machine import describe_machine
from sparsegen.compare.network import NETWORK_STEPS, compare_network
from sparsegen.compare.report import Comparison
from sparsegen.database.assign import DatabaseLike, as_database
from sparsegen.errors import SparsegenError
from sparsegen.frontend import from_torch, resolve_model
from sparsegen.graph import Conv2d, Layer, LayerGraph
from sparsegen.progress import Listener, Steps
from sparsegen.pruning.masks import finalize
from sparsegen.pruning.prunable import Model
from sparsegen.pruning.structures import parse_structure
from sparsegen.target import parse_target

PREPARING_STEPS = 2


@dataclass(frozen=True)
class Settings:
    """The options of a comparison, as `sparsegen.compare` explains them."""

    sparsity: float | None
    structure: str
    batch: int
    threads: int | None
    layers: str
    network: bool
    csr: bool
    samples: int
    target: str
    input_shape: tuple[int, ...] | None
    database: DatabaseLike

    def check(self) -> None:
        """Raise SparsegenError for what no model and no machine could make sense of."""
        for option, value in (("batch", self.batch), ("threads", self.threads), ("samples", self.samples)):
            if value is not None and value < 1:
                raise SparsegenError(f"{option} is {value}: give at least 1")


def run(
    model: str | Model,
    example_inputs: tuple[Tensor, ...] | None,
    *,
    settings: Settings,
    on_progress: Listener | None,
) -> Comparison:
    """Run a comparison; see `sparsegen.compare`."""
    settings.check()
    structure = parse_structure(settings.structure, sparsity=settings.sparsity)
    target, database = parse_target(settings.target), as_database(settings.database)
    threads = settings.threads or target.cores
    steps = Steps(on_progress, total=PREPARING_STEPS + settings.network * NETWORK_STEPS)
    with torch.no_grad(), _torch_threads(threads):
        steps.begin("loading the model")
        pruned, inputs = _private_copy(model, example_inputs, settings)
        steps.begin("pruning and exporting")
        names = {layer.name for layer in structure.prune(pruned)}
        # torch would otherwise multiply the weights by their masks in every call, on the clock.
        finalize(pruned)
        graph = from_torch(pruned, inputs)
        chosen = _choose(graph, names, settings.layers)
        steps.expect(len(chosen) * LAYER_STEPS)
        machine = describe_machine(target, threads)
        bench = Bench(settings.target, threads, settings.samples, machine.fma_peak_gflops, database)
        layers = tuple(
            compare_layer(layer, graph, bench=bench, steps=steps, csr=settings.csr) for layer in chosen
        )
        compile_seconds, end_to_end = None, None
        if settings.network:
            compile_seconds, end_to_end = compare_network(
                _eager(pruned), graph, inputs, bench=bench, steps=steps
            )
    return Comparison(
        machine=machine,
        model=model if isinstance(model, str) else type(model).__name__,
        batch=inputs[0].shape[0],
        threads=threads,
        sparsity=structure.sparsity,
        structure=structure.name,
        samples=settings.samples,
        compile_seconds=compile_seconds,
        layers=layers,
        end_to_end=end_to_end,
    )


def _private_copy(
    model: str | Model, example_inputs: tuple[Tensor, ...] | None, settings: Settings
) -> tuple[Model, tuple[Tensor, ...]]:
    """A model that may be pruned without touching the caller's, and its inputs."""
    found, inputs = resolve_model(
        model, example_inputs, batch=settings.batch, input_shape=settings.input_shape
    )
    return (_copy(found) if found is model else found), inputs


def _copy(model: Model) -> Model:
    """A deep copy, of a model in training too: torch copies no tensor that gradients flow through.

    Such are the weights that masks of `torch.nn.utils.prune` have left in the modules' attributes.
    """
    modules = model.modules() if isinstance(model, nn.Module) else ()
    attributes = [value for module in modules for value in vars(module).values()]
    computed = [value for value in attributes if isinstance(value, Tensor) and not value.is_leaf]
    return copy.deepcopy(model, {id(value): value.detach().clone() for value in computed})


def _choose(graph: LayerGraph, pruned: Container[str], pattern: str) -> list[Layer]:
    """The convolutions of `graph` that were pruned and whose names match `pattern`."""
    # A module that is called twice owns two layers, the second with a suffix: `conv#2`.
    layers = [
        layer
        for layer in graph.layers
        if isinstance(layer.core, Conv2d) and layer.name.partition("#")[0] in pruned
    ]
    chosen = [layer for layer in layers if fnmatch.fnmatchcase(layer.name, pattern)]
    if not chosen:
        names = ", ".join(layer.name for layer in layers)
        raise SparsegenError(f"no pruned layer matches {pattern!r}; the pruned layers are: {names}")
    return chosen


def _eager(model: Model) -> nn.Module:
    return model.module() if isinstance(model, ExportedProgram) else model


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
