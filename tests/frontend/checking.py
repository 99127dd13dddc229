"""What the frontend's tests share: small modules, and the comparison with the model in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sparsegen.frontend import from_torch
from sparsegen.graph import LayerGraph
from tests.reference import evaluate


class Function(nn.Module):
    """A model that is one function of its inputs and of constants, passed after them."""

    def __init__(self, function: Callable[..., Any], *constants: Tensor) -> None:
        super().__init__()
        self.function = function
        self.names = [f"constant{index}" for index in range(len(constants))]
        for name, tensor in zip(self.names, constants, strict=True):
            self.register_buffer(name, tensor)
        self.eval()

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs, *(getattr(self, name) for name in self.names))


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape or (2, 4, 9, 8), generator=torch.Generator().manual_seed(seed))


def randomised(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, every batch norm with statistics and weights that matter."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            size = (module.num_features,)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(size, generator=generator) / 4)
            module.running_var.copy_(torch.rand(size, generator=generator) + 0.5)
            if module.affine:
                module.weight.data = torch.rand(size, generator=generator) + 0.5
                module.bias.data = torch.randn(size, generator=generator) / 4
    return model.eval()


def check(model: nn.Module, *inputs: Tensor, tolerance: float = 1e-6) -> LayerGraph:
    """Compile `model`, compare the graph with it in float64, and return the graph.

    `tolerance` is relative to each output's largest element: folded weights are rounded to float32.
    """
    graph = from_torch(model, inputs)
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(*(value.double() for value in inputs))
    leaves = enumerate(pytree.tree_leaves(expected))
    computed = [leaf for position, leaf in leaves if position not in graph.known_outputs]
    for result, correct in zip(evaluate(graph, inputs), computed, strict=True):
        # A model may ask for float32 itself.
        check_close(result, correct.double() if correct.is_floating_point() else correct, tolerance)
    return graph


def check_close(result: Tensor, correct: Tensor, tolerance: float) -> None:
    assert result.shape == correct.shape
    torch.testing.assert_close(result, correct, rtol=0, atol=tolerance * float(correct.abs().max()))


def describe(graph: LayerGraph) -> list[str]:
    """The graph's layers as `Core step step`, in order."""
    return [
        " ".join([type(layer.core).__name__, *(step.op for step in layer.epilogue)]) for layer in graph.layers
    ]
