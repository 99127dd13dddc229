"""A comparison from end to end: load, prune, compile, time every layer, then the network."""

from __future__ import annotations

import fnmatch
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from sparsegen.compare.bench import Bench
from sparsegen.compare.engines import PEERS, find_engines
from sparsegen.compare.layer import LAYER_STEPS, compare_layer
from sparsegen.compare.machine import describe_machine
from sparsegen.compare.network import NETWORK_STEPS, compare_network
from sparsegen.compare.report import Comparison
from sparsegen.database.assign import DatabaseLike, as_database
from sparsegen.errors import OptionError
from sparsegen.frontend import batch_of
from sparsegen.graph import Conv2d, Layer, LayerGraph
from sparsegen.preparation import PREPARING_STEPS, prepare
from sparsegen.progress import Listener, Steps
from sparsegen.pruning.prunable import Model
from sparsegen.pruning.structures import parse_structure
from sparsegen.target import parse_target


@dataclass(frozen=True)
class Settings:
    """The options of a comparison, as `sparsegen.compare` explains them."""

    sparsity: float | None
    structure: str
    batch: int | None
    threads: int | None
    layers: str | None
    network: bool
    csr: bool
    samples: int
    target: str
    input_shape: tuple[int, ...] | None
    database: DatabaseLike
    winograd: bool
    peers: tuple[str, ...]
    peers_folder: Path | None

    def check(self) -> None:
        """Raise SparsegenError for what no model and no machine could make sense of."""
        for option, value in (("batch", self.batch), ("threads", self.threads), ("samples", self.samples)):
            if value is not None and value < 1:
                raise OptionError(f"{option} is {value}: give at least 1")
        if not self.network and self.layers is None:
            raise OptionError("neither layers nor the network are to be timed: leave out one of the two")
        if self.peers and not self.network:
            raise OptionError(
                "peers run whole networks: leave out --no-network (network=False), or the peers"
            )


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
    engines = find_engines(settings.peers, settings.peers_folder or PEERS) if settings.peers else {}
    steps = Steps(on_progress, total=PREPARING_STEPS + settings.network * (NETWORK_STEPS + len(engines)))
    with torch.no_grad(), _torch_threads(threads):
        prepared = prepare(
            model,
            example_inputs,
            structure=structure,
            batch=settings.batch,
            input_shape=settings.input_shape,
            steps=steps,
        )
        graph = prepared.graph
        chosen = [] if settings.layers is None else _choose(graph, prepared.pruned, settings.layers)
        steps.expect(len(chosen) * LAYER_STEPS)
        machine = describe_machine(target, threads)
        bench = Bench(
            settings.target, threads, settings.samples, machine.fma_peak_gflops, database, settings.winograd
        )
        layers = tuple(
            compare_layer(layer, graph, bench=bench, steps=steps, csr=settings.csr) for layer in chosen
        )
        compile_seconds, end_to_end = None, None
        if settings.network:
            compile_seconds, end_to_end = compare_network(
                _eager(prepared.model), graph, prepared.inputs, bench=bench, steps=steps, engines=engines
            )
    return Comparison(
        machine=machine,
        model=model if isinstance(model, str) else type(model).__name__,
        batch=batch_of(prepared.inputs),
        threads=threads,
        sparsity=structure.sparsity,
        structure=structure.name,
        samples=settings.samples,
        compile_seconds=compile_seconds,
        layers=layers,
        end_to_end=end_to_end,
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
        names = ", ".join(layer.name for layer in layers)
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
