"""What each layer takes at each N:M ratio, measured: what pruning to a time budget chooses by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from sparsegen.compare.layer import alone, kernels
from sparsegen.compare.timing import time_in_turn
from sparsegen.compiler import compile_graph
from sparsegen.errors import OptionError
from sparsegen.frontend import from_torch
from sparsegen.graph import Conv2d, Layer, LayerGraph, Linear
from sparsegen.options import check_count
from sparsegen.progress import Listener, Steps
from sparsegen.pruning.budget import Ratio, keep_at
from sparsegen.pruning.n_m import check_ratio
from sparsegen.pruning.prunable import Model, prunable_layers
from sparsegen.target import parse_target

_SEED = 0


def measure_ratios(
    model: Model,
    inputs: tuple[torch.Tensor, ...],
    ratios: Sequence[Ratio],
    *,
    rows: int | None = None,
    threads: int | None = None,
    target: str = "native",
    samples: int = 15,
    skip: Sequence[str] | None = None,
    linear: bool = False,
    on_progress: Listener | None = None,
) -> dict[str, dict[Ratio, float]]:
    """Seconds that every layer to prune takes, on its own, at each ratio (n, m); (m, m) is dense.

    The ratios are N:M of its weights, or, with `rows`, of its filters, those of so many output channels
    together.

    Each layer's weights are pruned at each ratio, on copies: `model` is left as it is. The layer is
    compiled alone, for the shapes that it has in the model called with `inputs`, and its ratios are timed in
    turn: medians of `samples`, on `threads` threads (None: every core). A layer that the model calls
    several times counts each. The times go into `sparsegen.pruning.budget`, with the same `skip` and
    `linear`.

    Raises SparsegenError for a ratio that cannot be, a layer whose channels M does not divide, a layer that
    the model does not call, and a model, inputs or target that cannot be compiled.
    """
    for ratio in ratios:
        check_ratio(*ratio)
    check_count("samples", samples, 1)
    threads = parse_target(target).cores if threads is None else threads
    layers = prunable_layers(model, skip=skip, linear=linear)
    keeps = {layer.name: {ratio: keep_at(layer, ratio, rows).cpu() for ratio in ratios} for layer in layers}
    graph = from_torch(model, inputs)
    calls = {name: _calls(graph, name) for name in keeps}
    steps = Steps(on_progress, total=sum(map(len, calls.values())))
    times = {name: dict.fromkeys(ratios, 0.0) for name in keeps}
    for name, by_ratio in keeps.items():
        for layer in calls[name]:
            steps.begin(f"timing layer {layer.name} at {len(ratios)} ratios")
            found = _time(layer, graph, by_ratio, threads=threads, target=target, samples=samples)
            for ratio, seconds in found.items():
                times[name][ratio] += seconds
    return times


def _calls(graph: LayerGraph, name: str) -> list[Layer]:
    """The layers of the graph that a module became: one a call of it, the second named `conv#2`."""
    found = [
        layer
        for layer in graph.layers
        if layer.name.partition("#")[0] == name and isinstance(layer.core, Conv2d | Linear)
    ]
    if not found:
        raise OptionError(f"layer '{name}' takes no time, as the model does not call it: list it in skip")
    return found


def _time(
    layer: Layer,
    graph: LayerGraph,
    keeps: Mapping[Ratio, torch.Tensor],
    *,
    threads: int,
    target: str,
    samples: int,
) -> dict[Ratio, float]:
    """Median seconds of one layer by ratio, its epilogue left out."""
    assert isinstance(layer.core, Conv2d | Linear)
    generator = torch.Generator().manual_seed(_SEED)
    shape = graph.shapes()[layer.inputs[0]]
    x = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
    calls = {}
    for (n, m), keep in keeps.items():
        # A linear layer over tokens is a 1x1 convolution by now.
        kept = keep.numpy().reshape(layer.core.weight.shape)
        # Batch norm, folded into the weights since, scales whole rows: the largest are the same.
        pruned = replace(layer, core=replace(layer.core, weight=layer.core.weight * kept))
        compiled = compile_graph(alone(pruned, tuple(x.shape)), threads=threads, target=target)
        compiled(x)  # fills the buffers that the timed calls read
        calls[f"{n}:{m}"] = kernels(compiled)
    timings = time_in_turn(calls, samples=samples)
    return {(n, m): timings[f"{n}:{m}"].median_ms / 1e3 for n, m in keeps}
