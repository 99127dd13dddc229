"""A layer graph as a module of torch's, which torch.export takes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from sparsegen.graph import LayerGraph
from sparsegen.torch_graph.graph import TorchGraph


class GraphModule(nn.Module):
    """Computes a layer graph by torch's own operators, on the CPU; called with its inputs in order."""

    def __init__(self, graph: LayerGraph) -> None:
        super().__init__()
        self._graph = TorchGraph(graph)
        self.eval()

    def forward(self, *inputs: Tensor) -> Any:
        """The graph's results, in the structure of the model's."""
        return self._graph.traced(inputs)


def exported(graph: LayerGraph) -> ExportedProgram:
    """The program of a layer graph, with static shapes."""
    inputs = tuple(
        torch.zeros(shape, dtype=getattr(torch, graph.input_dtype(name)))
        for name, shape in graph.inputs.items()
    )
    with torch.no_grad():
        return torch.export.export(GraphModule(graph), inputs)
