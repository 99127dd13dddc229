"""What is settled before kernels are made: a graph's lanes, conversions and layouts; and parts of it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch.utils import _pytree

from sparsegen.errors import PlanError
from sparsegen.graph import FLOAT32, Layer, LayerGraph, Result
from sparsegen.kernels.conversions import BUFFER, Convert, place_conversions
from sparsegen.kernels.operands import Value
from sparsegen.kernels.planning import padded_values, place_taps, plan_operands, use_batch_lanes
from sparsegen.kernels.registry import Context, Measured, Memo
from sparsegen.kernels.separable import fuse_separable
from sparsegen.kernels.space import KernelSchedule
from sparsegen.kernels.stages import LayerStage, in_stages
from sparsegen.kernels.torch_own import check_measured, leave_to_torch, unserved, without_torch
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import Layout
from sparsegen.runtime.program import CallGroup, CallStage
from sparsegen.stopwatch import part
from sparsegen.target import Target

_log = logging.getLogger(__name__)
GIVEN = "given"
"""Where a schedule comes from that the caller gave."""


@dataclass(frozen=True, eq=False)
class PlannedGraph:
    """A graph with its taps and its conversions placed, and what its kernels know.

    `source` is the frontend's graph, its depthwise convolutions fused where that is faster; `graph` is that
    with its taps and its conversions placed. `context` has the layout of every value: decided here, once, for
    the parts of the graph too. `padded` are the values whose halo some layer of the whole graph reads.
    `sources` tell where the context's schedules come from, by layer; `unserved` why implementations that
    times were given for do not compute a layer. `stages` tell which layers run at once; the others run in
    between, one after the other on all threads: see `staged`.
    """

    source: LayerGraph
    graph: LayerGraph
    context: Context
    padded: Collection[str]
    sources: Mapping[str, str] = field(default_factory=dict)
    unserved: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[LayerStage, ...] = ()

    def contexts(self) -> dict[str, Context]:
        """What the kernel of each layer knows: its own threads, where it is in a group."""
        of_threads = {self.context.threads: self.context}
        groups = [group for stage in self.stages for group in stage]
        for group in groups:
            of_threads.setdefault(group.threads, replace(self.context, threads=group.threads))
        mine = {name: of_threads[group.threads] for group in groups for name in group.layers}
        return {layer.name: mine.get(layer.name, self.context) for layer in self.graph.layers}

    def staged(self, stages: Sequence[LayerStage]) -> PlannedGraph:
        """The plan with its layers in stages, in their order.

        Layers that are in no stage run as soon as a stage needs them, or at the end.

        Raises PlanError for a layer that is not there, is in two groups, or reads or makes a plain tensor,
        for one that reads what a later stage computes, for groups that wait for each other in a circle, and
        for more threads than the plan has.
        """
        return replace(self, graph=in_stages(self.graph, stages, self.context.threads), stages=tuple(stages))

    def call_stages(self) -> tuple[CallStage, ...]:
        """The stages as those of the calls, one a layer, that the program of the graph makes."""
        steps = {layer.name: step for step, layer in enumerate(self.graph.layers)}
        reads = {layer.name: [*layer.reads()] for layer in self.graph.layers}
        return tuple(_call_stage(stage, steps, reads) for stage in self.stages)

    def layer(self, name: str) -> Layer:
        """The layer of a name in `graph`."""
        return next(layer for layer in self.graph.layers if layer.name == name)

    def layouts(self, names: Iterable[str]) -> dict[str, Layout]:
        """Layouts of those of the values that are laid out."""
        operands = self.context.operands
        return {name: each.layout for name in names if isinstance(each := operands.get(name), Value)}

    def schedule_sources(self, kernels: Mapping[str, Kernel]) -> dict[str, str]:
        """Where schedules come from, but for those that are given and that no kernel took."""
        schedules = self.context.schedules
        return {
            name: source
            for name, source in self.sources.items()
            if source != GIVEN or (name in kernels and kernels[name].schedule == schedules[name].as_dict())
        }

    def part(self, layers: Collection[str]) -> PlannedGraph:
        """Some of the graph's layers as a graph of their own, whose kernels are those of the whole.

        Its inputs are the values that they read of others, its outputs those that others, or the caller of
        the whole, read of them: in the whole's order, all by position. Plain values are tensors of their
        shape, laid-out ones buffers of their layout, [groups, size]. The results of an operator that has
        several stay with it.

        Raises PlanError for names of no layers, and for a value that leaves the part and comes back.
        """
        graph = self.graph
        mine, others = self._split(layers)
        values = [*graph.inputs, *(layer.name for layer in graph.layers)]
        read = {name for layer in mine for name in layer.reads()} - {layer.name for layer in mine}
        wanted = {name for layer in others for name in layer.reads()} | {*graph.outputs}
        shapes, dtypes = graph.shapes(), {layer.name: layer.dtype for layer in graph.layers}
        inputs = [name for name in values if name in read]
        outputs = [layer.name for layer in mine if layer.name in wanted]
        copies = {name: self._copied(name) for name in self.layouts(outputs)}
        cut = LayerGraph(
            inputs={name: shapes[name] for name in inputs},
            layers=[*mine, *copies.values()],
            outputs=tuple(copies[name].name if name in copies else name for name in outputs),
            constants=graph.constants,
            output_spec=_pytree.tree_structure(tuple(outputs)),
            input_dtypes={
                name: dtype
                for name in inputs
                if (dtype := graph.input_dtypes.get(name, dtypes.get(name, FLOAT32))) != FLOAT32
            },
        )
        return replace(self, graph=cut, stages=())

    def _split(self, names: Collection[str]) -> tuple[list[Layer], list[Layer]]:
        """The layers of a part, and the others, in order."""
        known = dict.fromkeys(layer.name for layer in self.graph.layers)
        if isinstance(names, str) or not known.keys() >= {*names}:
            found = [names] if isinstance(names, str) else sorted(map(str, {*names} - known.keys()))
            raise PlanError(
                f"a part is a collection of names of layers, and {', '.join(map(repr, found))} is none: "
                f"there are {', '.join(known)}"
            )
        mine, others = list[Layer](), list[Layer]()
        inside, past = set[str](), set[str]()  # what is made here, and what is made of that elsewhere
        for layer in self.graph.layers:
            decisive = layer.inputs[0] if isinstance(layer.core, Result) else layer.name
            back = next((name for name in layer.reads() if name in past), None)
            if decisive not in names:
                others.append(layer)
                if back is not None or not inside.isdisjoint(layer.reads()):
                    past.add(layer.name)
                continue
            if back is not None:
                raise PlanError(
                    f"layer {layer.name!r} of the part reads {back!r}, which is computed elsewhere of what "
                    "the part computes: take what lies between into the part, too"
                )
            mine.append(layer)
            inside.add(layer.name)
        return mine, others

    def _copied(self, name: str) -> Layer:
        """The layer that copies a value's buffer, halo and all, to a tensor of its own."""
        layout = self.context.layout(name)
        return Layer(f"{name}{BUFFER}", Convert("buffer"), (name,), (layout.groups, layout.size))


@part("planning")
def plan_graph(
    graph: LayerGraph,
    *,
    threads: int,
    target: Target,
    dense: bool = False,
    schedules: Mapping[str, KernelSchedule] | None = None,
    winograd: bool = True,
    measured: Measured | None = None,
) -> PlannedGraph:
    """The plan of a frontend's graph; the options are as of `compiler.compile_graph`."""
    check_measured(measured or {}, graph)
    batch_lanes = use_batch_lanes(graph, target)
    lanes = "images" if batch_lanes else "pixels"
    _log.info("%d layers for %s: %d lanes hold %s", len(graph.layers), target.name, target.lanes, lanes)
    given, memo = schedules or {}, Memo()

    def planned(source: LayerGraph, times: Measured) -> PlannedGraph:
        placed = place_conversions(place_taps(source, batch_lanes=batch_lanes))
        operands = plan_operands(placed, lanes=target.lanes, batch_lanes=batch_lanes)
        context = Context(operands, target, threads, dense, winograd, given, memo, times)
        plan = PlannedGraph(source, placed, context, padded=())
        return replace(plan, padded=padded_values(placed, plan.layouts(operands)))

    plan, times = planned(graph, measured or {}), without_torch(measured or {})
    if measured:
        plan = planned(leave_to_torch(graph, plan.graph, plan.context), times)
    source = plan.source
    fused = fuse_separable(source, plan.graph, plan.context)
    _log.info("%d depthwise convolutions are fused", len(source.layers) - len(fused.layers))
    if len(fused.layers) != len(source.layers):
        plan = planned(fused, times)
    return replace(plan, unserved=unserved(measured, graph, plan.graph, plan.context)) if measured else plan


def _call_stage(stage: LayerStage, steps: Mapping[str, int], reads: Mapping[str, list[str]]) -> CallStage:
    """A stage's calls; each waits for the last of what it reads in each other group."""
    group_of = {name: number for number, group in enumerate(stage) for name in group.layers}
    after = dict[int, tuple[int, ...]]()
    for name, number in group_of.items():
        latest: dict[int, int] = {}
        for source in reads[name]:
            group = group_of.get(source, number)
            if group != number:
                latest[group] = max(latest.get(group, 0), steps[source])
        if latest:
            after[steps[name]] = tuple(sorted(latest.values()))
    numbers = [steps[name] for name in group_of]
    groups = tuple(CallGroup(tuple(steps[name] for name in group.layers), group.threads) for group in stage)
    return CallStage(min(numbers), max(numbers) + 1, groups, after)
