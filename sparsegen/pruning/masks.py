"""Masks on a model: set, held while it trains, and made permanent.

A module's masks are those of `torch.nn.utils.prune`: the trained weight is the parameter `weight_orig`, the
mask the buffer `weight_mask`, and their product becomes `weight` before every call, so that any training
loop fine-tunes with the masks held. An exported program has no such hooks: zeros go into its state.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sparsegen.errors import PruningError
from sparsegen.pruning.prunable import Model, WeightLayer, names_of, weight_layers

_Model = TypeVar("_Model", bound=Model)
_on_trial: ContextVar[bool] = ContextVar("_on_trial", default=False)


@dataclass(frozen=True)
class PrunedLayer:
    """What pruning left of one layer.

    `shape` is the weight's, `sparsity` the share of zeros in it now, `kept_l1` the share that is kept of
    the L1 norm that the weights had before the call, `detail` what the method has to tell beside that.
    `structure` is the text of the layer's own, where the method chose one for each. `notes` are sentences
    about what was asked of the layer and could not be had, such as rows that it does not have.
    """

    name: str
    shape: tuple[int, ...]
    sparsity: float
    kept_l1: float
    detail: Mapping[str, float | int] = field(default_factory=dict)
    structure: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Choice:
    """Which weights of a layer a method keeps: `keep` is boolean, of the shape of the layer's `weight`.

    `detail`, `structure` and `notes` are told of the layer, see `PrunedLayer`.
    """

    layer: WeightLayer
    keep: Tensor
    detail: Mapping[str, float | int] = field(default_factory=dict)
    structure: str | None = None
    notes: tuple[str, ...] = ()


def set_masks(choices: Sequence[Choice]) -> tuple[PrunedLayer, ...]:
    """Zero what the choices do not keep, and hold it and every zero that was there before."""
    with torch.no_grad():
        return tuple(_set_mask(choice) for choice in choices)


def report(layers: Sequence[WeightLayer]) -> tuple[PrunedLayer, ...]:
    """The layers as they are."""
    return tuple(_report(Choice(layer, layer.weight != 0), kept_l1=1.0) for layer in layers)


def apply_masks(model: Model, masks: Mapping[str, Tensor]) -> tuple[PrunedLayer, ...]:
    """Prune the layers of `model`, in place, by masks of the caller's own, given by layer name.

    A mask has its weight's shape and holds 1 (or True) where a weight stays, 0 (or False) elsewhere.
    Weights that are zero already stay so.

    Raises PruningError for a name that is no convolution's or linear layer's, and for a mask of another
    shape or with other values; the model is then as it was.
    """
    layers = {layer.name: layer for layer in weight_layers(model)}
    unknown = [name for name in masks if name not in layers]
    if unknown:
        raise PruningError(f"there is no layer '{unknown[0]}' to mask; the layers are: {names_of(layers)}")
    return set_masks([Choice(layers[name], _checked(layers[name], mask)) for name, mask in masks.items()])


def finalize(model: _Model) -> _Model:
    """Make the masks of `model` permanent, in place: the weights hold the zeros, no hook is left.

    Masks that the caller set with `torch.nn.utils.prune` go the same way. A program, and a module without
    masks, stay as they are. Returns the model.
    """
    if isinstance(model, nn.Module):
        for module in model.modules():
            for hook in _hooks(module):
                _remove(module, hook._tensor_name)
    return model


@contextmanager
def trial() -> Iterator[None]:
    """What is pruned meanwhile is a copy: a method that would take long need only find out whether it can."""
    token = _on_trial.set(True)
    try:
        yield
    finally:
        _on_trial.reset(token)


def on_trial() -> bool:
    """Whether a `trial` is on."""
    return _on_trial.get()


def masked_copy(model: _Model) -> _Model | None:
    """A copy of a model, masks included, that may be pruned for a trial; None where it cannot be copied."""
    # torch copies no tensor that gradients flow through, such as a weight that its mask was multiplied into.
    modules = model.modules() if isinstance(model, nn.Module) else ()
    values = [value for module in modules for value in vars(module).values()]
    computed = [value for value in values if isinstance(value, Tensor) and not value.is_leaf]
    try:
        return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in computed})
    except Exception:  # whatever copying a model's own attributes raises
        return None


def kept_l1(weight: Tensor, keep: Tensor) -> float:
    """Share of the L1 norm of `weight` that is kept; all of it where every weight is zero."""
    norm = weight.abs().sum(dtype=torch.float64)
    return float(weight.abs().mul(keep).sum(dtype=torch.float64) / norm) if norm else 1.0


def _set_mask(choice: Choice) -> PrunedLayer:
    layer, before = choice.layer, choice.layer.weight
    keep = choice.keep.to(before.device) & (before != 0)
    choice = replace(choice, keep=keep)
    share = kept_l1(before, keep)
    if not keep.all():
        if not layer.owners:
            layer.parameter.mul_(layer.turned(keep))
        for module in layer.owners:
            _hold(module, layer.tensor, layer.turned(keep).to(before.dtype))
    return _report(choice, kept_l1=share)


def _report(choice: Choice, *, kept_l1: float) -> PrunedLayer:
    """What is left of a layer whose every other weight is zero."""
    parameter = choice.layer.parameter
    zeros = parameter.numel() - int(choice.keep.count_nonzero())
    return PrunedLayer(
        name=choice.layer.name,
        shape=tuple(parameter.shape),
        sparsity=zeros / parameter.numel(),
        kept_l1=kept_l1,
        detail=choice.detail,
        structure=choice.structure,
        notes=choice.notes,
    )


def _hold(module: nn.Module, tensor: str, mask: Tensor) -> None:
    """Set the mask, or narrow the one there is: torch's own way would chain a method a call."""
    hooks = [hook for hook in _hooks(module) if hook._tensor_name == tensor]
    if not hooks:
        prune.custom_from_mask(module, tensor, mask)  # type: ignore[no-untyped-call]
    for hook in hooks:
        module.get_buffer(f"{tensor}_mask").mul_(mask)
        hook(module, ())


def _hooks(module: nn.Module) -> list[prune.BasePruningMethod]:
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, prune.BasePruningMethod)]


def _remove(module: nn.Module, name: str) -> None:
    prune.remove(module, name)  # type: ignore[no-untyped-call]
    # torch registers the weight anew, behind the bias; code that walks the parameters of two models side
    # by side, as averaging does, relies on their order.
    if name == "weight" and "bias" in module._parameters:
        module._parameters["bias"] = module._parameters.pop("bias")
    if isinstance(module, nn.RNNBase):
        for each in module._flat_weights_names:
            if each in module._parameters:
                module._parameters[each] = module._parameters.pop(each)


def _checked(layer: WeightLayer, mask: Tensor) -> Tensor:
    if not isinstance(mask, Tensor):
        raise PruningError(
            f"the mask of layer '{layer.name}' is a {type(mask).__name__}: give a torch.Tensor"
        )
    if mask.shape != layer.parameter.shape:
        raise PruningError(
            f"the mask of layer '{layer.name}' has shape {tuple(mask.shape)}: give one of the weight's, "
            f"{tuple(layer.parameter.shape)}"
        )
    if not ((mask == 0) | (mask == 1)).all():
        raise PruningError(
            f"the mask of layer '{layer.name}' has other values than 0 and 1: give 1 where a weight stays "
            "and 0 elsewhere"
        )
    return layer.turned(mask != 0)
