"""The calls that a model's layers become, before anything is compiled: their kinds, features, rough seconds.

Ours are the kernels of a plan: each layer's, and the conversions around it. Torch's are the layers. Rough
seconds are only where a prediction starts from (see `prediction`): those of the planner, where it has a model
of the kernel's loops; else multiply-adds at the peak; and bytes at the bandwidth of memory. That knows of no
caches, as an estimate that jumps where a value does not fit any more is harder to correct than a smooth one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sparsegen.compiler import default_plan
from sparsegen.devices import Operator, describe_graph
from sparsegen.graph import FLOAT32, ITEM_BYTES, Extern, Layer, LayerGraph, PlainCore
from sparsegen.hetero.costs.features import layer_features, log_size
from sparsegen.kernels.implementation import Offer
from sparsegen.kernels.registry import best_offer
from sparsegen.target import Target, parse_target
from sparsegen.torch_graph.graph import products_of_networks

_ITEM = ITEM_BYTES[FLOAT32]
_CALL_S = 1e-6  # a call of a kernel, with its arguments
_TORCH_CALL_S = 2e-6  # a call of one of torch's operators


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a kernel, or of torch for a layer.

    layer: that of the frontend's graph which it counts to. kind: what code runs, "ours panels", "torch conv",
    "torch aten.topk.default". parts: rough seconds of the call itself, of its multiply-adds or the planner's
    estimate, of its bytes, and of the steps that it takes apart.
    """

    name: str
    layer: str
    kind: str
    parts: tuple[float, float, float, float]
    features: Mapping[str, float]

    @property
    def rough(self) -> float:
        """Rough seconds of all parts, above 0."""
        return sum(self.parts)


def our_calls(graph: LayerGraph, threads: int) -> list[Call]:
    """The calls of a program of ours, on so many threads of this machine. Raises as compiling does."""
    plan, source = default_plan(graph, threads), source_of(graph)
    contexts, seen = plan.contexts(), _Seen(plan.source, plan.context.target, threads)
    found = []
    for layer in plan.graph.layers:
        if isinstance(layer.core, PlainCore):
            found.append(seen.by_torch(layer))
        else:
            offer = best_offer(layer, contexts[layer.name])
            found.append(seen.by_kernel(layer.name, source(layer.name), offer))
    return found


def torch_calls(graph: LayerGraph, threads: int) -> list[Call]:
    """The calls of a `TorchGraph`, one a layer, on so many threads of this machine."""
    seen, within = _Seen(graph, parse_target(), threads), products_of_networks(graph).values()
    merged = {linear.name for linear in within}
    return [seen.by_torch(layer) for layer in graph.layers if layer.name not in merged]


def source_of(graph: LayerGraph) -> Callable[[str], str]:
    """Tells the layer of a frontend's graph that a call of its program counts to, by the call's name.

    Conversions of an input count to its first reader, those of an output to the layer that makes it.
    """
    layers = {layer.name for layer in graph.layers}
    readers = {name: layer.name for layer in reversed(graph.layers) for name in layer.reads()}
    outputs = {f"output {place}": name for place, name in enumerate(graph.outputs)}

    def source(name: str) -> str:
        base = name if name in layers else name.partition("#")[0]
        return base if base in layers else readers.get(base, outputs.get(base, base))

    return source


class _Seen:
    """A graph as calls on a machine's threads see it."""

    def __init__(self, graph: LayerGraph, target: Target, threads: int) -> None:
        self._target, self._threads = target, threads
        self._layers = {layer.name: layer for layer in graph.layers}
        self._shapes, self._constants = graph.shapes(), graph.constants
        self._described = describe_graph(graph)

    def by_kernel(self, name: str, layer: str, offer: Offer) -> Call:
        """A call of a kernel of ours, of a layer or of a conversion beside one."""
        own, cost = name if name in self._layers else name.partition("#")[0], offer.cost
        features = self._features(own, zeros=True) if own in self._layers else {}
        features |= {
            "planned": _time(cost.seconds),
            "bytes read": log_size(cost.bytes_read),
            "bytes written": log_size(cost.bytes_written),
            f"format {offer.format}": 1.0,
        }
        work = cost.seconds if cost.origin != "roofline" else self._work(own)
        parts = (_CALL_S, work, self._moving(cost.bytes_read + cost.bytes_written), 0.0)
        return Call(name, layer, f"ours {offer.implementation.name}", parts, features)

    def by_torch(self, layer: Layer) -> Call:
        """A call of torch for a layer: its operator, and each step, which reads and writes all again."""
        described, core = self._described[layer.name], layer.core
        steps = len(described.steps)
        parts = (
            _TORCH_CALL_S * (1 + steps),
            self._work(layer.name),
            self._moving(_moved(described)),
            steps * self._moving(2 * _ITEM * described.written),
        )
        name = str(core.overload) if isinstance(core, Extern) else described.name
        return Call(layer.name, layer.name, f"torch {name}", parts, self._features(layer.name, zeros=False))

    def _features(self, name: str, *, zeros: bool) -> dict[str, float]:
        layer, lanes = self._layers[name], self._target.lanes
        found = layer_features(layer, self._shapes, self._constants, lanes=lanes, zeros=zeros)
        return found | {"roofline": _time(self._roofline(self._described[name]))}

    def _roofline(self, described: Operator) -> float:
        """The least seconds of a layer, whose values may be in caches."""
        moved, target, threads = _moved(described), self._target, self._threads
        bandwidth = target.bandwidth(threads, cached=moved <= threads * target.l2_bytes)
        return max(described.multiply_adds / target.peak(threads), moved / bandwidth)

    def _work(self, name: str) -> float:
        """Seconds of a layer's multiply-adds at the peak; 0 of what is no layer."""
        described = self._described.get(name)
        return 0.0 if described is None else described.multiply_adds / self._target.peak(self._threads)

    def _moving(self, moved: int) -> float:
        return moved / self._target.bandwidth(self._threads)


def _moved(described: Operator) -> int:
    return _ITEM * (described.read + described.written + described.weights)


def _time(seconds: float) -> float:
    return log_size(seconds * 1e9)
