"""Which layers of a model may be pruned, in a torch module or an exported program alike."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from sparsegen.errors import PruningError

Model = nn.Module | ExportedProgram

_TRANSPOSED = (torch.ops.aten.conv_transpose1d.default, torch.ops.aten.conv_transpose2d.input)
_CONVOLUTIONS = (
    torch.ops.aten.conv1d.default, torch.ops.aten.conv1d.padding,
    torch.ops.aten.conv2d.default, torch.ops.aten.conv2d.padding, *_TRANSPOSED,
)  # fmt: skip
_CONVOLUTION = torch.ops.aten.convolution.default
_LINEAR = (torch.ops.aten.linear.default, torch.ops.aten.addmm.default, torch.ops.aten.mm.default)
_TRANSPOSES = (torch.ops.aten.t.default, torch.ops.aten.permute.default)
_RECURRENT = (torch.ops.aten.lstm.input, torch.ops.aten.gru.input)
_MODULES = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


@dataclass(frozen=True, eq=False)
class WeightLayer:
    """A layer that owns a weight; `name` is its module's path, with the tensor's behind it in LSTMs and GRUs.

    `parameter` is the tensor that training updates, or a program's, not a copy; `mask` that of
    `torch.nn.utils.prune`, where there is one. `owners` are the modules that read the parameter: several
    where weights are tied, none in a program. The parameter of a `transposed` convolution has the input's
    channels first.
    `tensor` is what the owners call the weight.
    """

    name: str
    parameter: Tensor
    convolution: bool
    groups: int = 1
    mask: Tensor | None = None
    owners: tuple[nn.Module, ...] = ()
    transposed: bool = False
    tensor: str = "weight"

    @property
    def weight(self) -> Tensor:
        """The weight that the layer multiplies with: [K, C / groups, (kh,) kw], or [out, in] if linear."""
        parameter = self.parameter.detach()
        return self.turned(parameter if self.mask is None else parameter * self.mask)

    def turned(self, tensor: Tensor) -> Tensor:
        """A tensor of the parameter's shape in the weight's, or the other way round."""
        if not self.transposed:
            return tensor
        grouped = tensor.reshape(self.groups, tensor.shape[0] // self.groups, *tensor.shape[1:])
        return grouped.transpose(1, 2).flatten(0, 1)

    @property
    def depthwise(self) -> bool:
        """Whether every input channel has filters of its own."""
        return self.groups > 1 and self.turned(self.parameter.detach()).shape[1] == 1


def prunable_layers(
    model: Model, *, skip: Sequence[str] | None = None, linear: bool = False
) -> list[WeightLayer]:
    """Return the layers of `model` that pruning may thin out, in the model's order.

    These are its convolutions of images and rows, transposed ones too, and, where `linear` asks for them or
    there are no convolutions, its linear layers and the weights of LSTMs and GRUs. Depthwise convolutions (a
    few weights a channel) always stay dense. `skip` holds the names, or shell patterns of names, of further
    layers to leave dense; by default the first convolution, which reads the image, and the last layer, which
    is the classifier. (Not so in a model of linear layers alone whose result is as wide as what the first one
    reads, which is an encoder, all of blocks, and in one that ends in an LSTM or GRU.)

    Raises PruningError where nothing is left to prune, for a pattern that matches no layer, and for a
    layer whose weights are not finite.
    """
    layers = weight_layers(model)
    convolutions = [layer for layer in layers if layer.convolution]
    linear = linear or (bool(layers) and not convolutions)
    dense = _first_and_classifier(layers) if skip is None else _named(layers, skip)
    candidates = layers if linear else convolutions
    prunable = [layer for layer in candidates if layer.name not in dense and not layer.depthwise]
    if not prunable:
        raise PruningError(_nothing_to_prune(layers, linear))
    for layer in prunable:
        if not torch.isfinite(layer.weight).all():
            raise PruningError(
                f"layer '{layer.name}' has NaN or infinite weights: repair them, or list the layer in skip"
            )
    return prunable


def _first_and_classifier(layers: Sequence[WeightLayer]) -> set[str]:
    """Names of the layers that stay dense unless the caller says otherwise."""
    convolutions = [layer for layer in layers if layer.convolution]
    is_encoder = not convolutions and layers and layers[-1].parameter.shape[0] == layers[0].parameter.shape[1]
    is_recurrent = bool(layers) and layers[-1].tensor != "weight"
    classifier = () if is_encoder or is_recurrent else layers[-1:]
    return {layer.name for layer in (*convolutions[:1], *classifier)}


def _named(layers: Sequence[WeightLayer], patterns: Sequence[str]) -> set[str]:
    """Names of the layers that match any of the patterns."""
    names = [layer.name for layer in layers]
    matches = {pattern: fnmatch.filter(names, pattern) for pattern in patterns}
    for pattern, found in matches.items():
        if not found:
            raise PruningError(f"skip: no layer matches {pattern!r}; the layers are: {names_of(names)}")
    return {name for found in matches.values() for name in found}


def names_of(names: Iterable[str]) -> str:
    """The names in one line, as messages list them: at most a dozen."""
    listed = list(names)
    rest = f" and {len(listed) - 12} more" if len(listed) > 12 else ""
    return ", ".join(listed[:12]) + rest


def _nothing_to_prune(layers: Sequence[WeightLayer], linear: bool) -> str:
    if not layers:
        return (
            f"the model has no {'layer' if linear else 'convolution'} to prune: it has no convolution or "
            "linear layer, or none whose weight is a parameter. Of a module that torch.export made, prune "
            "the program; one that computes its weights, export after remove_parametrizations"
        )
    convolutions = sum(layer.convolution for layer in layers)
    if not linear:
        return (
            f"the model has no convolution to prune: it has {convolutions} convolutions, of which "
            "depthwise ones stay dense, and the first and the classifier unless skip=(...) says otherwise"
        )
    return (
        f"the model has no layer to prune: it has {convolutions} convolutions and "
        f"{len(layers) - convolutions} linear layers, of which the first convolution, the classifier and "
        "depthwise convolutions stay dense unless skip=(...) says otherwise"
    )


def weight_layers(model: Model) -> list[WeightLayer]:
    """Return the convolutions, linear layers and LSTMs' and GRUs' weights of `model`, each once, in order.

    The order is that of registration in a module and that of execution in an exported program.

    Raises PruningError for a weight that is no parameter but computed from others, and for a sparse layout.
    """
    found = _of_program(model) if isinstance(model, ExportedProgram) else _of_module(model)
    layers: dict[int, WeightLayer] = {}
    for layer in found:
        first = layers.setdefault(id(layer.parameter), layer)
        if first is not layer:
            layers[id(layer.parameter)] = replace(first, owners=first.owners + layer.owners)
    return list(layers.values())


def _of_module(model: nn.Module) -> Iterator[WeightLayer]:
    for name, module in model.named_modules():
        if isinstance(module, nn.LSTM | nn.GRU):
            yield from _of_recurrent(name, module)
        if not isinstance(module, (*_MODULES, nn.Linear)):
            continue
        groups = 1 if isinstance(module, nn.Linear) else module.groups
        masked = "weight_mask" in module._buffers
        parameter = module._parameters.get("weight_orig" if masked else "weight")
        if parameter is None:
            raise PruningError(
                f"layer '{name}' computes its weight from other parameters (weight norm, or another "
                f"parametrization): make the weight a parameter first, with {_remover(module)}"
            )
        if parameter.layout != torch.strided:
            raise PruningError(
                f"the weight of layer '{name}' has the layout {parameter.layout}: make it dense first, with "
                f"layer.weight = torch.nn.Parameter(layer.weight.to_dense())"
            )
        yield WeightLayer(
            name,
            parameter,
            convolution=not isinstance(module, nn.Linear),
            groups=groups,
            mask=module._buffers["weight_mask"] if masked else None,
            owners=(module,),
            transposed=isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d),
        )


def _of_recurrent(path: str, module: nn.RNNBase) -> Iterator[WeightLayer]:
    """The weights of all layers and directions, of inputs and of states."""
    for tensor in module._flat_weights_names:
        masked = f"{tensor}_mask" in module._buffers
        parameter = module._parameters.get(f"{tensor}_orig" if masked else tensor)
        if tensor.startswith("weight") and parameter is not None:
            yield WeightLayer(
                f"{path}.{tensor}".removeprefix("."),
                parameter,
                convolution=False,
                mask=module._buffers[f"{tensor}_mask"] if masked else None,
                owners=(module,),
                tensor=tensor,
            )


def _remover(module: nn.Module) -> str:
    """The call of torch's that makes a parameter of a weight that the module computes."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            return "torch.nn.utils.remove_weight_norm(module)"
        if isinstance(hook, SpectralNorm):
            return "torch.nn.utils.remove_spectral_norm(module)"
    return "torch.nn.utils.parametrize.remove_parametrizations(module, 'weight')"


def _of_program(program: ExportedProgram) -> Iterator[WeightLayer]:
    parameters = program.graph_signature.inputs_to_parameters
    for node in program.graph.nodes:
        groups = _convolution_groups(node)
        if groups is None and node.target not in (*_LINEAR, *_RECURRENT):
            continue
        dimensions = (2,) if groups is None else (3, 4)
        for source in _sources(node):
            _check_unmasked(source, program)
            weight = program.state_dict.get(parameters.get(source.name, ""))
            if weight is not None and weight.dim() in dimensions:
                name = parameters[source.name].removesuffix(".weight")
                yield WeightLayer(
                    name,
                    weight,
                    convolution=groups is not None,
                    groups=groups or 1,
                    transposed=_is_transposed(node),
                    tensor=parameters[source.name].rpartition(".")[2]
                    if node.target in _RECURRENT
                    else "weight",
                )


def _check_unmasked(source: torch.fx.Node, program: ExportedProgram) -> None:
    """Refuse a weight that the program computes from a parameter and a mask in every call."""
    parameters = program.graph_signature.inputs_to_parameters
    for read in source.all_input_nodes:
        name = parameters.get(read.name, "")
        if name.endswith("_orig") and f"{name.removesuffix('_orig')}_mask" in program.state_dict:
            layer = name.removesuffix("_orig").removesuffix(".weight")
            raise PruningError(
                f"the program masks the weight of '{layer}' in every "
                "call: call sparsegen.pruning.finalize(model) before torch.export"
            )


def _convolution_groups(node: torch.fx.Node) -> int | None:
    """The groups of a convolution; None for any other node."""
    if node.target in _CONVOLUTIONS:
        return int(node.args[6] if len(node.args) > 6 else node.kwargs.get("groups", 1))  # type: ignore[arg-type]
    if node.target is _CONVOLUTION:
        return int(node.args[8])  # type: ignore[arg-type]
    return None


def _is_transposed(node: torch.fx.Node) -> bool:
    return node.target in _TRANSPOSED or (node.target is _CONVOLUTION and bool(node.args[6]))


def _sources(node: torch.fx.Node) -> Iterator[torch.fx.Node]:
    """Inputs of a node; `mm` and `addmm` read a linear layer's weight through a transposed view."""
    for source in node.all_input_nodes:
        yield source.all_input_nodes[0] if source.target in _TRANSPOSES else source
