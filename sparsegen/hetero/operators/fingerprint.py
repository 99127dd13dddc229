"""Digests of operators and graphs: what decides how long they take, and nothing else.

A digest covers cores with all their parameters, shapes, types of elements, epilogues, how the layers read
each other, and where weights are zero; not the weights' values, nor any name. So layers of one network that
are alike share a digest, and with it a measured cost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsegen.graph import Extern, LayerGraph, SeparableConv2d, Step
from sparsegen.runtime.operators import bytes_of

_NAMES = {(SeparableConv2d, "fused"), (Extern, "reason")}
"""Fields that say what something is called, or why it is there."""
_FORMAT = "sparsegen operator 1"


def fingerprint(graph: LayerGraph) -> str:
    """The digest of an operator's graph, 32 hexadecimal digits.

    Inputs count in the order in which the layers read them: two parts of one network that compute alike have
    one digest, whatever the network's order of their inputs.
    """
    numbers = _numbers(graph, [])
    return _digest([_FORMAT, *_described(graph, numbers)])


def model_fingerprint(graph: LayerGraph, carried: Mapping[str, str] | None = None) -> str:
    """The digest of a whole model: as an operator's, and of how it is called and what it returns.

    carried: by state, which is an input, the output that it is when the model is called next.
    """
    numbers = _numbers(graph, graph.inputs)
    inputs = [(shape, graph.input_dtype(name)) for name, shape in graph.inputs.items()]
    outputs = [numbers[name] for name in graph.outputs]
    states = [[(numbers[s], numbers[source]) for s, source in carried.items()]] if carried else []
    known = sorted(graph.known_outputs)
    return _digest([_FORMAT, "model", inputs, outputs, known, *states, *_described(graph, numbers)])


def _numbers(graph: LayerGraph, inputs: Iterable[str]) -> dict[str, tuple[str, int]]:
    """What stands for each value: an input's place, these first and else by first reader, or a layer's."""
    layers = {layer.name: ("layer", at) for at, layer in enumerate(graph.layers)}
    read = dict.fromkeys([*inputs, *(name for layer in graph.layers for name in layer.reads())])
    foreign = [name for name in read if name not in layers and name not in graph.constants]
    return {**layers, **{name: ("input", at) for at, name in enumerate(foreign)}}


def _described(graph: LayerGraph, numbers: Mapping[str, tuple[str, int]]) -> Iterator[Any]:
    """All that counts, as numbers, text, arrays and lists of them."""

    def source(name: str) -> Any:
        if name not in numbers:
            return graph.constants[name]
        if numbers[name][0] == "layer":
            return numbers[name]
        return *numbers[name], graph.inputs[name], graph.input_dtype(name)

    for layer in graph.layers:
        yield layer.core, layer.shape, layer.dtype, [source(name) for name in layer.inputs]
        for step in layer.epilogue:
            operand = source(step.operand) if isinstance(step.operand, str) else step.operand
            yield step.op, operand, step.reverse, step.parameters
    yield sorted({numbers[name] for name in graph.outputs})


def _digest(described: Iterable[Any]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for each in described:
        for part in _parts(each):
            found.update(len(part).to_bytes(8, "little"))
            found.update(part)
    return found.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    """The bytes that stand for a value; their lengths go before them, so that no two values run together."""
    match value:
        case np.ndarray():
            yield from _array(value)
        case torch.Tensor():
            yield f"tensor {value.dtype} {tuple(value.shape)}".encode()
            if value.is_floating_point():
                yield _zeros((value != 0).cpu().numpy())
            else:
                yield bytes_of(value).tobytes()
        case list() | tuple():
            yield f"{len(value)} parts".encode()
            for each in value:
                yield from _parts(each)
        case Mapping():
            yield from _parts(sorted(value.items()))
        case Step():
            yield from _parts((value.op, value.operand, value.reverse, value.parameters))
        case _ if is_dataclass(value) and not isinstance(value, type):
            yield type(value).__name__.encode()
            for each in fields(value):
                if (type(value), each.name) not in _NAMES:
                    yield from _parts(getattr(value, each.name))
        case _:
            yield f"{type(value).__name__} {value}".encode()


def _array(array: NDArray[Any]) -> Iterator[bytes]:
    """Of numbers, where they are zero; of indices, all."""
    yield f"array {array.dtype} {array.shape}".encode()
    yield _zeros(array != 0) if array.dtype.kind == "f" else np.ascontiguousarray(array).tobytes()


def _zeros(mask: NDArray[Any]) -> bytes:
    return np.packbits(mask).tobytes()
