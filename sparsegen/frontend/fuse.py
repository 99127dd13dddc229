"""Fusing: pointwise layers become the last steps of the epilogue of the layer that feeds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sparsegen.frontend.simplify import count_readers
from sparsegen.graph import (
    BINARY,
    AdaptivePool2d,
    Conv2d,
    GroupNorm,
    Identity,
    Layer,
    LayerGraph,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    MatMul,
    Mean,
    PixelShuffle,
    PixelUnshuffle,
    Pool2d,
    Reduce,
    Resample2d,
    Step,
)

ACCEPTS_EPILOGUE = (
    Identity, Conv2d, Linear, Pool2d, AdaptivePool2d, Resample2d, PixelShuffle, PixelUnshuffle, Mean, Reduce,
    LayerNorm, GroupNorm, LocalResponseNorm, MatMul,
)  # fmt: skip


def fuse_epilogues(graph: LayerGraph) -> LayerGraph:
    """Append every pointwise layer that can be to its producer's epilogue, chains to their end.

    A producer takes a layer in where that layer is its only reader and has its shape. The fused layer
    stands where the pointwise one stood, so that the other operands are there before it, and bears the
    producer's name.
    """
    fusion = _Fusion(count_readers(graph))
    for layer in graph.layers:
        fusion.add(layer)
    outputs = tuple(fusion.renamed.get(name, name) for name in graph.outputs)
    return replace(graph, layers=list(fusion.layers.values()), outputs=outputs)


@dataclass
class _Fusion:
    """The layers fused so far, in order; `renamed` gives what a fused layer's value is called now."""

    readers: Counter[str]

    def __post_init__(self) -> None:
        self.layers: dict[str, Layer] = {}
        self.renamed: dict[str, str] = {}

    def add(self, layer: Layer) -> None:
        layer = layer.renamed(self.renamed)
        candidates = [pair for pair in _fusions(layer) if self._takes(pair[0], layer)]
        if not candidates:
            self.layers[layer.name] = layer
            return
        # Of two sides of a sum take the one computed last: its residual is there by then.
        order = list(self.layers)
        name, steps = max(candidates, key=lambda pair: order.index(pair[0]))
        producer = self.layers.pop(name)
        self.layers[name] = replace(producer, epilogue=producer.epilogue + steps)
        self.renamed[layer.name] = name
        self.readers[name] = self.readers[layer.name]

    def _takes(self, producer: str, layer: Layer) -> bool:
        # One reader also means that no other operand of `layer` depends on the producer.
        found = self.layers.get(producer)
        return (
            found is not None
            and isinstance(found.core, ACCEPTS_EPILOGUE)
            and found.shape == layer.shape
            and self.readers[producer] == 1
        )


def _fusions(layer: Layer) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """The values whose producer could end with the layer, each with the steps it would add."""
    if not isinstance(layer.core, Identity) or not layer.epilogue:
        return
    value = layer.inputs[0]
    yield value, layer.epilogue
    first, *others = layer.epilogue
    if first.op in BINARY and isinstance(first.operand, str):
        reverse = first.op not in ("add", "mul") and not first.reverse
        yield first.operand, (replace(first, operand=value, reverse=reverse), *others)
