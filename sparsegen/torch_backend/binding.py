"""A graph of Dynamo's with its weights and numbers bound: a module of the caller's tensors alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.fx.node import map_arg
from torch.fx.traceback import preserve_node_meta

from sparsegen.frontend.tensors import named_tensors
from sparsegen.torch_backend.placeholders import Placeholders

_MODES = frozenset(
    {
        torch._C._set_grad_enabled,
        torch.autograd.grad_mode._enter_inference_mode,
        torch.autograd.grad_mode._exit_inference_mode,
    }
)
"""Calls that say which gradients are recorded: none are, of what is compiled."""
_ROOT = re.compile(r"^[LG]\['[^']*'\]\.?")
"""How Dynamo calls the model itself, in paths of its modules."""
_PART = re.compile(r"_modules\['([^']+)'\]")


def bind_weights(
    graph: GraphModule,
    inputs: Placeholders,
    arguments: Sequence[Any],
    paths: Mapping[int, str],
    *,
    modes: frozenset[Any] = _MODES,
) -> GraphModule:
    """The graph with tensors and numbers for good in the place of inputs; it takes the others, in order.

    `paths` are those of the weights that are bound, by the input's number: attributes of the new module.
    Numbers always are, and what is read of those that come as tensors. Calls of `modes` are left out. The
    original stays as it is.
    """
    root, new = _holder(graph), Graph()
    values: dict[Node, Any] = {}
    index, floats = -1, dict[Node, float]()
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            index += 1
            if index in paths:
                _hold(root, paths[index], arguments[index])
                values[node] = new.create_node("get_attr", paths[index])
                continue
            if index in inputs.numbers:
                values[node] = arguments[index]
                continue
            if index in inputs.floats:
                floats[node] = arguments[index].item()
                continue
        elif node.op == "call_method" and node.target == "item" and node.args[0] in floats:
            values[node] = floats[node.args[0]]
            continue
        elif node.op == "call_function" and node.target in modes:
            values[node] = None
            continue
        values[node] = _copied(node, new, values)
    return _in_evaluation(GraphModule(root, new))


def bind_numbers(graph: GraphModule, inputs: Placeholders, arguments: Sequence[Any]) -> GraphModule:
    """The graph with numbers alone bound, and all that it says of gradients: for another compiler."""
    return bind_weights(graph, inputs, arguments, {}, modes=frozenset())


def _in_evaluation(graph: GraphModule) -> GraphModule:
    """The graph, run node by node: so its operators keep the names of the model's modules in torch.export."""
    for module in graph.modules():
        module.training = False

    def forward(self: GraphModule, *tensors: Tensor) -> Any:
        with preserve_node_meta():
            return Interpreter(self).run(*tensors)

    type(graph).forward = forward  # every GraphModule has a class of its own
    return graph


def _holder(graph: GraphModule) -> nn.Module:
    """A module with what the graph itself has: constants, and graphs of control flow."""
    root = nn.Module()
    for name, tensor in named_tensors(graph, ""):
        _put(root, name, tensor)
    for name, module in graph.named_children():
        root.add_module(name, module)
    for node in graph.graph.nodes:
        if node.op == "get_attr" and "." not in node.target and not hasattr(root, node.target):
            setattr(root, node.target, getattr(graph, node.target))
    return root


def _hold(root: nn.Module, path: str, tensor: Tensor) -> None:
    """Put a tensor where a path says, in modules that are there for that."""
    *parts, name = path.split(".")
    module = root
    for part in parts:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module.get_submodule(part)
    _put(module, name, tensor)


def _put(module: nn.Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, nn.Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _copied(node: Node, new: Graph, values: Mapping[Node, Any]) -> Node:
    """A node in the new graph, with the values of what it reads; of its notes, where in the model it is."""

    def value(source: Node) -> Any:
        return values[source]

    copied = new.create_node(
        node.op, node.target, map_arg(node.args, value), map_arg(node.kwargs, value), node.name, node.type
    )
    stack = node.meta.get("nn_module_stack") or {}
    copied.meta["nn_module_stack"] = {key: (_module_path(path), kind) for key, (path, kind) in stack.items()}
    return copied


def _module_path(path: str) -> str:
    """`L['self'].layer1.0`, or `L['self']._modules['layer1']`, as the model calls the module."""
    return _ROOT.sub("", _PART.sub(r"\1", path))
