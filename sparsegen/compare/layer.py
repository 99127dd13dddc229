"""One pruned convolution on its own, against its rivals."""

from __future__ import annotations

import math

import numpy as np
import torch

from sparsegen.compare.accuracy import accuracy
from sparsegen.compare.bench import Bench
from sparsegen.compare.csr import csr_peers
from sparsegen.compare.peers import convolution_peers
from sparsegen.compare.report import LayerComparison
from sparsegen.compare.timing import Call
from sparsegen.graph import Conv2d, Layer, LayerGraph
from sparsegen.progress import Steps
from sparsegen.reference import convolution_reference
from sparsegen.runtime.model import CompiledModel

LAYER_STEPS = 2
"""Steps that `compare_layer` reports."""

_SEED = 0


def compare_layer(
    layer: Layer, graph: LayerGraph, *, bench: Bench, steps: Steps, csr: bool
) -> LayerComparison:
    """Compile one convolution of `graph` sparse and dense, check it, and time it against its rivals.

    It keeps its weights and bias, with batch norm folded in, and the shape of its input in the
    network; its epilogue is left out, as torch would run that as operators of their own. With `csr`,
    CSR products are among the rivals.
    """
    assert isinstance(layer.core, Conv2d)
    conv = layer.core
    steps.begin(f"compiling layer {layer.name}")
    generator = torch.Generator().manual_seed(_SEED)
    shape = graph.shapes()[layer.inputs[0]]
    x = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
    graph_alone = alone(layer, tuple(x.shape))
    sparse, dense = bench.compile(graph_alone)
    result = sparse(x)
    report = next(report for report in sparse.layers if report.name == layer.name)
    if dense is not None:
        dense(x)  # a full call fills the buffers that run_layer then reads again and again
    reference = convolution_reference(conv, x)
    csr_calls, csr_accuracy = csr_peers(conv, x, reference) if csr else ({}, {})
    steps.begin(f"timing layer {layer.name}")
    ours = None if dense is None else kernels(dense)
    race = bench.race(kernels(sparse), convolution_peers(conv, x), ours, csr=csr_calls)
    nonzeros = int(np.count_nonzero(conv.weight))
    gflops = _operations(layer, nonzeros) / (race.sparse.median_ms * 1e6)
    return LayerComparison(
        name=layer.name,
        weight_shape=conv.weight.shape,
        input_shape=tuple(x.shape),
        density=nonzeros / conv.weight.size,
        kernel=report.kernel,
        format=report.format,
        schedule=report.schedule,
        schedule_source=report.schedule_source,
        race=race,
        gflops=gflops,
        peak_fraction=gflops / bench.peak_gflops,
        accuracy=accuracy(result, reference),
        csr_accuracy=csr_accuracy,
    )


def alone(layer: Layer, input_shape: tuple[int, ...]) -> LayerGraph:
    """A graph of nothing but the layer's core operator."""
    source = f"{layer.name}.input"
    core = Layer(name=layer.name, core=layer.core, inputs=(source,), shape=layer.shape)
    return LayerGraph(inputs={source: input_shape}, layers=[core], outputs=(layer.name,))


def kernels(compiled: CompiledModel) -> Call:
    """A call of everything but the conversions at the model's edges, which a network does once.

    A layer may have needed a step of its own before it, as a strided one does: it counts.
    """
    names = [report.name for report in compiled.layers]

    def call() -> None:
        for name in names:
            compiled.run_layer(name)

    return call


def _operations(layer: Layer, nonzeros: int) -> int:
    """Multiplications and additions with `nonzeros` weights, each used at every output pixel."""
    images, _, *pixels = layer.shape
    return 2 * images * math.prod(pixels) * nonzeros
