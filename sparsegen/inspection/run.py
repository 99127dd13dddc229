"""An inspection from end to end: load, export, plan, and look at every layer with weights."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from sparsegen.compiler import check_threads
from sparsegen.errors import ModelError
from sparsegen.frontend import batch_of, from_torch, resolve_model
from sparsegen.frontend.modules import Model
from sparsegen.graph import Extern, approximated_steps
from sparsegen.inspection.layer import has_weights, inspect_layer
from sparsegen.inspection.options import InspectOptions
from sparsegen.inspection.report import Inspection
from sparsegen.kernels.plan import plan_graph
from sparsegen.rewriting.approximate_steps import approximate_steps
from sparsegen.target import calibrated, parse_target


def run(model: str | Model, example_inputs: tuple[Tensor, ...] | None, options: InspectOptions) -> Inspection:
    """Run an inspection; see `sparsegen.inspect`."""
    options.check()
    cpu = calibrated(parse_target(options.target), options.calibration)
    threads = check_threads(cpu.cores if options.threads is None else options.threads)
    name = model if isinstance(model, str) else type(model).__name__
    with torch.no_grad():
        network, inputs = resolve_model(model, example_inputs, options)
        exact = from_torch(network, inputs, fallback=options.fallback)
    graph = approximate_steps(exact, options.approximate)
    plan = plan_graph(graph, threads=threads, target=cpu, winograd=options.winograd)
    weighted = (layer for layer in plan.graph.layers if has_weights(layer))
    layers = [each for layer in weighted for each in inspect_layer(layer, plan)]
    if not layers:
        raise ModelError(
            f"{name} has no convolution and no linear layer: it has no weights that could be sparse"
        )
    return Inspection(
        model=name,
        target=cpu,
        batch=batch_of(inputs),
        threads=threads,
        layers=tuple(layers),
        torch_operators=Counter(
            str(layer.core.overload) for layer in graph.layers if isinstance(layer.core, Extern)
        ),
        approximated=Counter(told for layer in graph.layers for told in approximated_steps(layer)),
    )
