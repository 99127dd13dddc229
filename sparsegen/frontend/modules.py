"""What a torch module has to be before torch.export takes it, and copies that are so."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from sparsegen.errors import ModelError, first_line
from sparsegen.frontend.refusals import describe_path, describe_tensor
from sparsegen.frontend.tensors import is_plain, named_tensors, plain

Model = nn.Module | ExportedProgram


def check_exportable(model: object) -> None:
    """Raise ModelError for what is no module, for TorchScript, lazy modules and training mode."""
    for path, module in _readable(model).named_modules():
        if module.training and not _is_without_code(module):
            advice = "set training = False on it, for what torch.export made refuses model.eval()"
            raise ModelError(
                f"{describe_path(path)} is in training mode: "
                f"{advice if holds_program(module) else 'call model.eval()'}"
            )


def evaluating(model: nn.Module) -> nn.Module:
    """The model, put in evaluation mode; modules of torch.export refuse that, and need it not.

    Raises ModelError for TorchScript and lazy modules.
    """
    try:
        return _readable(model).eval()
    except NotImplementedError:
        for module in model.modules():
            module.training = False
        return model


def _readable(model: object) -> nn.Module:
    """The model, a module that torch.export can read."""
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"the model is a {type(model).__name__}; pass a torch.nn.Module or a torch.export.ExportedProgram"
        )
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"{describe_path(path)} is TorchScript, which torch.export cannot read: pass the "
                f"torch.nn.Module that it was scripted or traced from"
            )
        if ".quantized" in type(module).__module__ and _made_by(module, "torch.ao.nn"):
            raise ModelError(
                f"{describe_path(path)} is quantised: pass the float32 model that it was made from"
            )
    for name, tensor in named_tensors(model):
        if is_lazy(tensor):
            raise ModelError(
                f"{describe_tensor(name)} has no shape yet: call the model once, or load its weights"
            )
    return model


def holds_program(model: nn.Module) -> bool:
    """Whether torch.export made the model, or a part of it: such a part runs operators, and has no layers."""
    return any(_made_by(module, "torch.export") for module in model.modules())


def _is_without_code(module: nn.Module) -> bool:
    """Whether no code of a module's own reads its training flag: a recorded graph, or what holds weights."""
    return type(module) is nn.Module or _made_by(module, "torch.export") or _made_by(module, "torch.fx")


def _made_by(module: nn.Module, package: str) -> bool:
    return any(base.__module__.startswith(f"{package}.") for base in type(module).__mro__)


def check_call(model: nn.Module, count: int, kwargs: Mapping[str, Any], advice: str = "") -> None:
    """Raise ModelError where `forward` cannot be called with `count` inputs and keyword arguments."""
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # some callables have none
        return
    try:
        signature.bind(*range(count), **kwargs)
    except TypeError as error:
        found = signature.parameters.values()
        keywords = [
            each.name
            for each in found
            if each.kind == each.KEYWORD_ONLY and each.default is each.empty and each.name not in kwargs
        ]
        if keywords:
            raise ModelError(
                f"forward of {type(model).__name__} needs the keyword {', '.join(keywords)}: give it in "
                f"kwargs, or wrap the model in a module that sets it"
            ) from error
        inputs = [each for each in found if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
        if kwargs:
            raise ModelError(
                f"forward of {type(model).__name__} takes {_inputs(inputs)}, and cannot be called with "
                f"{count} by position and {', '.join(kwargs)} by name: {error}"
            ) from error
        raise ModelError(
            f"forward of {type(model).__name__} takes {_inputs(inputs)}, {count} "
            f"{'is' if count == 1 else 'are'} given{advice}"
        ) from error


def _inputs(parameters: Sequence[inspect.Parameter]) -> str:
    """`2 inputs (a, b)`, `1 to 2 inputs (a, b)`, `no inputs`."""
    most, least = len(parameters), sum(each.default is each.empty for each in parameters)
    number = str(most) if least == most else f"{least} to {most}"
    names = ", ".join(each.name for each in parameters)
    return f"{number} input{'' if number == '1' else 's'} ({names})" if parameters else "no inputs"


def has_plain_tensors(model: nn.Module) -> bool:
    """Whether all parameters and buffers are tensors that torch.export traces."""
    return all(is_plain(tensor) for _, tensor in named_tensors(model))


def plain_copy(model: nn.Module) -> nn.Module:
    """A deep copy with plain parameters and buffers, also of a model in training.

    Raises ModelError for a model that cannot be copied.
    """
    # torch copies no tensor that gradients flow through, such as the weights that masks of
    # `torch.nn.utils.prune` and norms of weights have left in the modules' attributes.
    attributes = [value for module in model.modules() for value in vars(module).values()]
    computed = [value for value in attributes if isinstance(value, Tensor) and not value.is_leaf]
    strange = [tensor for _, tensor in named_tensors(model) if not is_plain(tensor)]
    try:
        with torch.inference_mode(False):
            return copy.deepcopy(model, {id(tensor): plain(tensor) for tensor in (*computed, *strange)})
    except Exception as error:  # whatever copying the model's own attributes raises
        raise ModelError(
            f"copy.deepcopy cannot copy the model, {type(model).__name__} ({type(error).__name__}: "
            f"{first_line(error)}): give it attributes that can be copied"
        ) from error


def sets_weights(model: nn.Module) -> bool:
    """Whether hooks of torch's, of pruning or of a norm, set weights anew in every call."""
    kinds = (BasePruningMethod, WeightNorm, SpectralNorm)
    return any(
        isinstance(hook, kinds) for module in model.modules() for hook in module._forward_pre_hooks.values()
    )


def has_recurrence(model: nn.Module) -> bool:
    """Whether the model has torch's LSTM, GRU or RNN, which list their weights anew."""
    return any(isinstance(module, nn.RNNBase) for module in model.modules())


def hold_weights(model: nn.Module) -> None:
    """Make parameters, in place, of the weights that a norm or another parametrization computes.

    They keep their values of now, and can then be pruned.
    """
    for module in list(model.modules()):
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
        if parametrize.is_parametrized(module):
            _hold_parametrized(module)


def _hold_parametrized(module: nn.Module) -> None:
    """As torch's `remove_parametrizations`, which changes a class that copies of the module share."""
    assert isinstance(module.parametrizations, nn.ModuleDict)
    values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))
