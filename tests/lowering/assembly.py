"""The code of a layer's kernel, compiled and not run: it may be for any CPU."""

from __future__ import annotations

from typing import Any

from sparsegen.graph import LayerGraph
from sparsegen.kernels import build_kernel
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.space import KernelSchedule
from sparsegen.lowering.pipeline import generate, lower
from sparsegen.target import Target


def generated(graph: LayerGraph, target: Target, schedule: KernelSchedule | None = None) -> Any:
    """The module of the graph's last layer, named `layer`, under a schedule, or the one that is chosen."""
    schedules = {"layer": schedule} if schedule else {}
    plan = plan_graph(graph, threads=1, target=target, schedules=schedules)
    kernel = build_kernel(plan.layer("layer"), plan.context)
    return generate(lower(kernel.module, kernel.store, kernel.store.shape, kernel.prefetch), target)


def assembly(graph: LayerGraph, target: Target, schedule: KernelSchedule | None = None) -> str:
    """The assembly of that module."""
    return str(generated(graph, target, schedule).inspect_source("asm"))
