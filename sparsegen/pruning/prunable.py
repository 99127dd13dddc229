"""Which convolutions of a model may be pruned, in a torch module or an exported program alike."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from sparsegen.errors import SparsegenError

Model = nn.Module | ExportedProgram

_CONV2D = (torch.ops.aten.conv2d.default, torch.ops.aten.conv2d.padding)
_CONVOLUTION = torch.ops.aten.convolution.default
_LINEAR = (torch.ops.aten.linear.default, torch.ops.aten.addmm.default, torch.ops.aten.mm.default)
_TRANSPOSES = (torch.ops.aten.t.default, torch.ops.aten.permute.default)


@dataclass(frozen=True, eq=False)
class WeightLayer:
    """A layer that owns a weight: `name` is its module's path, `weight` the tensor itself, not a copy."""

    name: str
    weight: Tensor
    convolution: bool
    groups: int = 1

    @property
    def depthwise(self) -> bool:
        """Whether every input channel has filters of its own."""
        return self.groups > 1 and self.weight.shape[1] == 1


def prunable_layers(model: Model, *, skip: Sequence[str] | None = None) -> list[WeightLayer]:
    """Return the convolutions of `model` that pruning may thin out, in the model's order.

    Linear layers and depthwise convolutions (a few weights a channel) always stay dense. `skip`
    holds the names, or shell patterns of names, of further layers to leave dense; by default the
    first convolution, which reads the image, and the last layer, which is the classifier.

    Raises SparsegenError where nothing is left to prune.
    """
    layers = weight_layers(model)
    convolutions = [layer for layer in layers if layer.convolution]
    if skip is None:
        dense = {layer.name for layer in (*convolutions[:1], *layers[-1:])}
    else:
        dense = {
            layer.name for layer in layers if any(fnmatch.fnmatchcase(layer.name, each) for each in skip)
        }
    prunable = [layer for layer in convolutions if layer.name not in dense and not layer.depthwise]
    if not prunable:
        raise SparsegenError(
            f"the model has no convolution to prune: it has {len(convolutions)} 2-D convolutions, of which "
            "the first, the classifier and depthwise ones stay dense unless skip=(...) says otherwise"
        )
    return prunable


def weight_layers(model: Model) -> list[WeightLayer]:
    """Return the 2-D convolutions and linear layers of `model`, each weight once, in order.

    The order is that of registration in a module and that of execution in an exported program.
    """
    found = _of_program(model) if isinstance(model, ExportedProgram) else _of_module(model)
    layers: dict[int, WeightLayer] = {}
    for layer in found:
        layers.setdefault(id(layer.weight), layer)
    return list(layers.values())


def _of_module(model: nn.Module) -> Iterator[WeightLayer]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            yield WeightLayer(name, module.weight, convolution=True, groups=module.groups)
        elif isinstance(module, nn.Linear):
            yield WeightLayer(name, module.weight, convolution=False)


def _of_program(program: ExportedProgram) -> Iterator[WeightLayer]:
    parameters = program.graph_signature.inputs_to_parameters
    for node in program.graph.nodes:
        groups = _convolution_groups(node)
        if groups is None and node.target not in _LINEAR:
            continue
        dimensions = 2 if groups is None else 4
        for source in _sources(node):
            weight = program.state_dict.get(parameters.get(source.name, ""))
            if weight is not None and weight.dim() == dimensions:
                name = parameters[source.name].removesuffix(".weight")
                yield WeightLayer(name, weight, convolution=groups is not None, groups=groups or 1)


def _convolution_groups(node: torch.fx.Node) -> int | None:
    """The groups of a 2-D convolution; None for any other node, transposed convolutions included."""
    if node.target in _CONV2D:
        return int(node.args[6] if len(node.args) > 6 else node.kwargs.get("groups", 1))  # type: ignore[arg-type]
    if node.target is _CONVOLUTION and not node.args[6]:
        return int(node.args[8])  # type: ignore[arg-type]
    return None


def _sources(node: torch.fx.Node) -> Iterator[torch.fx.Node]:
    """Inputs of a node; `mm` and `addmm` read a linear layer's weight through a transposed view."""
    for source in node.all_input_nodes:
        yield source.all_input_nodes[0] if source.target in _TRANSPOSES else source
