"""The networks that IOS was timed with, as operators and what each reads.

`GRAPHS` keeps them, for tracing all takes a minute; `python -m bench.seed_figures --trace` does it again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.device_networks import MODELS
from sparsegen.devices import Operator, describe_graph
from sparsegen.files import write_file
from sparsegen.frontend import from_torch

GRAPHS = Path(__file__).with_suffix(".json")
NETWORKS = ("Inception-V3", "RandWire", "NASNet-A large", "SqueezeNet, bypass")


@dataclass(frozen=True)
class Node:
    """An operator, and the nodes that it reads, by number; all come before it."""

    operator: Operator
    reads: tuple[int, ...]


def read_graphs() -> dict[str, tuple[Node, ...]]:
    """All that `GRAPHS` has, by name."""
    kept = json.loads(GRAPHS.read_text())
    return {name: _nodes(record) for name, record in kept.items()}


def _nodes(record: dict[str, Any]) -> tuple[Node, ...]:
    operators = [Operator.from_dict(each) for each in record["operators"]]
    return tuple(Node(operators[number], tuple(reads)) for number, *reads in record["nodes"])


def trace_graphs() -> None:
    """Write all networks to `GRAPHS`."""
    texts = [f"{json.dumps(name)}: {_traced(name)}" for name in NETWORKS]
    write_file(GRAPHS, "{" + ",\n".join(texts) + "}\n")


def _traced(name: str) -> str:
    """A network as JSON: its operators, each once, and a node as [operator, reads...]."""
    make, size = MODELS[name]
    graph = from_torch(make().eval(), (torch.zeros(1, 3, size, size),))
    described = describe_graph(graph)
    kinds = {operator: number for number, operator in enumerate(dict.fromkeys(described.values()))}
    place = {layer.name: number for number, layer in enumerate(graph.layers)}
    nodes = [
        [kinds[described[layer.name]], *dict.fromkeys(place[each] for each in layer.reads() if each in place)]
        for layer in graph.layers
    ]
    lines = ",\n".join(json.dumps(operator.as_dict()) for operator in kinds)
    return f'{{"operators": [\n{lines}],\n"nodes": {json.dumps(nodes, separators=(",", ":"))}}}'
