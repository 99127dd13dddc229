"""A comparison from end to end: load, prune, compile, time every layer, then the network."""

from __future__ import annotations

import fnmatch
from collections.abc import Container, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from sparsegen.compare.artefact import open_artefact
from sparsegen.compare.bench import Bench
from sparsegen.compare.engines import PEERS, find_engines
from sparsegen.compare.layer import LAYER_STEPS, compare_layer
from sparsegen.compare.machine import describe_machine
from sparsegen.compare.network import NETWORK_STEPS, compare_network
from sparsegen.compare.options import CompareOptions
from sparsegen.compare.report import Comparison
from sparsegen.compare.spread import spread_warnings
from sparsegen.database.assign import as_database
from sparsegen.errors import OptionError
from sparsegen.frontend import batch_of
from sparsegen.graph import Conv2d, Layer, LayerGraph
from sparsegen.noise import warn_of_noise
from sparsegen.preparation import PREPARING_STEPS, prepare
from sparsegen.progress import Listener, Steps
from sparsegen.pruning.prunable import Model
from sparsegen.pruning.structures import parse_structure
from sparsegen.rewriting.approximate_steps import approximate_steps
from sparsegen.target import parse_target


def run(
    model: str | Model,
    example_inputs: tuple[Tensor, ...] | None,
    options: CompareOptions,
    *,
    on_progress: Listener | None,
) -> Comparison:
    """Run a comparison; see `sparsegen.compare`."""
    options.check()
    structure = parse_structure(options.structure, sparsity=options.sparsity)
    target, database = parse_target(options.target), as_database(options.database)
    threads = options.threads or target.cores
    engines = find_engines(options.peers, options.peers_folder or PEERS) if options.peers else {}
    artefact = None if options.artefact is None else open_artefact(options.artefact, threads)
    steps = Steps(on_progress, total=PREPARING_STEPS + options.network * (NETWORK_STEPS + len(engines)))
    with torch.no_grad(), _torch_threads(threads):
        prepared = prepare(
            model, example_inputs, options, structure=structure, steps=steps, fallback=options.fallback
        )
        eager = _eager(prepared.model)
        saved = None if artefact is None else artefact.of_model(eager, prepared.inputs, threads)
        graph = approximate_steps(prepared.graph, options.approximate)
        chosen = [] if options.layers is None else _choose(graph, prepared.pruned, options.layers)
        steps.expect(len(chosen) * LAYER_STEPS)
        noise, machine = warn_of_noise(), describe_machine(target, threads)
        bench = Bench(
            options.target, threads, options.samples, machine.fma_peak_gflops, database, options.winograd
        )
        layers = tuple(
            compare_layer(layer, graph, bench=bench, steps=steps, csr=options.csr) for layer in chosen
        )
        compile_seconds, end_to_end = None, None
        if options.network:
            compile_seconds, end_to_end = compare_network(
                eager, graph, prepared.inputs, bench=bench, steps=steps, engines=engines, artefact=saved
            )
    return Comparison(
        machine=machine,
        model=model if isinstance(model, str) else type(model).__name__,
        batch=batch_of(prepared.inputs),
        threads=threads,
        sparsity=structure.sparsity,
        structure=structure.name,
        samples=options.samples,
        compile_seconds=compile_seconds,
        layers=layers,
        end_to_end=end_to_end,
        warnings=(*noise, *spread_warnings(layers, end_to_end)),
    )


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
        names = ", ".join(layer.name for layer in layers) or "none, only convolutions count"
        raise OptionError(f"no pruned layer matches {pattern!r}; the pruned layers are: {names}")
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
