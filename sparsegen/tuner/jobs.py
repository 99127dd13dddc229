"""What there is to tune in a model: its workloads, each with a layer to measure schedules on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsegen.database.workload import Workload, workload_of
from sparsegen.graph import Layer, LayerGraph, SeparableConv2d
from sparsegen.kernels import Context
from sparsegen.kernels.plan import PlannedGraph, plan_graph
from sparsegen.kernels.planning import use_batch_lanes
from sparsegen.kernels.registry import space_of
from sparsegen.kernels.space import Space
from sparsegen.target import Target


@dataclass(frozen=True, eq=False)
class Job:
    """A layer to measure schedules on, without its epilogue; travels to worker processes.

    `layer` is of the plan's source, and says what to compute; `placed` has its taps placed, and its input may
    be split by stride phase; `context` is the plan's, of the placed layer's input and output alone.
    """

    layer: Layer
    input_shape: tuple[int, ...]
    placed: Layer
    context: Context

    @property
    def source(self) -> str:
        """Name of the value that the placed layer reads."""
        return self.placed.inputs[0]


@dataclass(frozen=True, eq=False)
class Task:
    """A workload of the model, the layers that share it, and the space of its schedules."""

    workload: Workload
    layers: tuple[str, ...]
    space: Space
    job: Job

    @property
    def name(self) -> str:
        """The first of the layers."""
        return self.layers[0]


def find_tasks(graph: LayerGraph, target: Target, *, threads: int, dense: bool) -> list[Task]:
    """The workloads of a frontend's graph as it is planned, in the order of its layers.

    Several layers of one workload are one task, measured with the weights of the first.
    """
    plan = plan_graph(graph, threads=threads, target=target, dense=dense)
    batch_lanes, shapes = use_batch_lanes(graph, target), plan.source.shapes()
    groups: dict[Workload, list[Layer]] = {}
    for layer in plan.source.layers:
        source = shapes[layer.inputs[0]] if layer.inputs else ()
        workload = workload_of(layer, source, batch_lanes=batch_lanes, dense=dense)
        if workload is not None:
            groups.setdefault(workload, []).append(layer)
    placed = {layer.name: layer for layer in plan.graph.layers}
    tasks = []
    for workload, layers in groups.items():
        job = _job(layers[0], placed[layers[0].name], plan, shapes[layers[0].inputs[0]])
        space = space_of(job.placed, job.context)
        if space is not None:
            tasks.append(Task(workload, tuple(layer.name for layer in layers), space, job))
    return tasks


def _job(layer: Layer, placed: Layer, plan: PlannedGraph, input_shape: tuple[int, ...]) -> Job:
    layer, bare = _bare(layer), _bare(placed)
    operands = {name: plan.context.operands[name] for name in (bare.inputs[0], bare.name)}
    return Job(layer, input_shape, bare, replace(plan.context, operands=operands))


def _bare(layer: Layer) -> Layer:
    """The layer without pointwise steps."""
    core = replace(layer.core, steps=()) if isinstance(layer.core, SeparableConv2d) else layer.core
    return replace(layer, core=core, epilogue=())
