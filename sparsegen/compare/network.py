"""The whole network, against torch eager in both layouts, torch.compile, and our dense code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from sparsegen.compare.accuracy import accuracy, argmax_agreement
from sparsegen.compare.artefact import RunningArtefact
from sparsegen.compare.bench import Bench
from sparsegen.compare.engines import started
from sparsegen.compare.peers import network_peers, network_reference
from sparsegen.compare.report import NetworkComparison
from sparsegen.compare.torch_part import torch_part
from sparsegen.graph import LayerGraph
from sparsegen.progress import Steps

NETWORK_STEPS = 4
"""Steps that `compare_network` reports, beside one an engine."""


def compare_network(
    model: nn.Module,
    graph: LayerGraph,
    inputs: tuple[Any, ...],
    *,
    bench: Bench,
    steps: Steps,
    engines: Mapping[str, Path],
    artefact: RunningArtefact | None = None,
) -> tuple[float, NetworkComparison]:
    """Compile and time a whole network; return the sparse compile time in seconds, and the result.

    `model` is what `graph` was exported from, with its pruned weights: torch multiplies by the zeros.
    `engines` are the folders of rivals in processes of their own, `artefact` is a file of the same model.
    """
    steps.begin("compiling the network")
    sparse, dense = bench.compile(graph)
    steps.begin("compiling the network with torch.compile")
    rivals, absent = network_peers(model, inputs)
    steps.begin("checking the network against float64")
    result, reference = sparse(*inputs), network_reference(model, inputs)
    with started(engines, model, inputs, reference, threads=bench.threads, steps=steps) as (others, missing):
        steps.begin("timing the network")
        race = bench.race(
            lambda: sparse(*inputs),
            rivals,
            None if dense is None else lambda: dense(*inputs),
            engines={name: engine.seconds for name, engine in others.items()},
            artefact=None if artefact is None else artefact.call,
        )
    lost = {name: engine.failure for name, engine in others.items() if engine.failure is not None}
    return sparse.compile_seconds, NetworkComparison(
        race=race,
        absent=absent | missing | lost,
        accuracy=accuracy(result, reference),
        argmax_agreement=argmax_agreement(result, reference),
        peak_bytes=sparse.peak_bytes,
        live_bytes=sparse.live_bytes,
        engines={name: engine.version for name, engine in others.items() if name not in lost},
        torch=torch_part(sparse, inputs, samples=bench.samples),
        artefact=None if artefact is None else artefact.part,
    )
