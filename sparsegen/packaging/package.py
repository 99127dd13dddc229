"""A model, by name, compiled for CPUs and batches, into one file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from sparsegen.compiler import compile_elsewhere
from sparsegen.cpuinfo import available_cores
from sparsegen.errors import foreign_errors
from sparsegen.files import check_writable
from sparsegen.formats.structure_names import UNSTRUCTURED
from sparsegen.frontend import from_torch, load_model, own_model
from sparsegen.graph import LayerGraph
from sparsegen.packaging.options import PackageOptions
from sparsegen.progress import Listener, Steps
from sparsegen.pruning import finalize
from sparsegen.pruning.structures import parse_structure
from sparsegen.pruning.weights import load_weights
from sparsegen.runtime.artefact.save import Saved, save_programs
from sparsegen.runtime.program import Program
from sparsegen.target import parse_target


@dataclass(frozen=True)
class Package:
    """A file, and what the weights of its layers take where they are dense, in float32."""

    model: str
    saved: Saved
    dense_bytes: int
    notes: tuple[str, ...] = ()


@foreign_errors()
def package(
    model: str, path: str | os.PathLike[str], options: PackageOptions, on_progress: Listener | None = None
) -> Package:
    """Compile a model into a file, for each of the batches and CPUs of the options.

    Raises SparsegenError for a model, an option or a target that cannot be, before the long work starts
    where that can be told, and FileError where the file cannot be written.
    """
    options.check()
    check_writable("--output", Path(path))
    for target in options.targets:
        parse_target(target, elsewhere=True)
    batches: tuple[int | None, ...] = options.batches or (options.batch,)
    steps = Steps(on_progress, total=len(batches) * (1 + len(options.targets)) + 1)
    threads = options.threads or available_cores()
    programs, notes = list[Program](), list[str]()
    for batch in batches:
        steps.begin("exporting" if batch is None else f"exporting, batch {batch}")
        graph, told = _graph(model, batch, options)
        notes += (note for note in told if note not in notes)
        programs += _programs(graph, batch, threads, options, steps)
    steps.begin("writing the file")
    return Package(model, save_programs(path, programs), _dense_bytes(programs[0]), tuple(notes))


def _programs(
    graph: LayerGraph, batch: int | None, threads: int, options: PackageOptions, steps: Steps
) -> Iterator[Program]:
    """The programs of a graph, one a target."""
    for target in options.targets:
        steps.begin(f"compiling for {target}" if batch is None else f"compiling for {target}, batch {batch}")
        yield compile_elsewhere(
            graph,
            threads=threads,
            target=target,
            winograd=options.winograd,
            approximate=options.approximate,
        )


def _graph(model: str, batch: int | None, options: PackageOptions) -> tuple[LayerGraph, list[str]]:
    """The graph of a model for a batch, pruned where that is asked for, and notes on its weights."""
    notes: list[str] = []
    with torch.no_grad():
        network, inputs = load_model(
            model,
            batch=batch,
            input_shape=options.input_shape,
            inputs=options.inputs,
            default_batch=options.default_batch,
            dynamic=True,
        )
        if options.weights is not None:
            notes += load_weights(network, options.weights)
        if options.structure is not None or options.sparsity is not None:
            network = own_model(network, inputs, in_place=True)
            structure = parse_structure(options.structure or UNSTRUCTURED, sparsity=options.sparsity)
            notes += (note for layer in structure.prune(network) for note in layer.notes)
            finalize(network)
        return from_torch(network, inputs, fallback=options.fallback), notes


def _dense_bytes(program: Program) -> int:
    return sum(4 * math.prod(layer.weight_shape) for layer in program.layers if layer.weight_shape)
