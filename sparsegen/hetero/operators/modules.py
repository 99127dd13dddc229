"""Any module of torch's as an operator: it is placed as it is, whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from sparsegen.compiler import compile
from sparsegen.errors import InputError, ModelError, OptionError, first_line
from sparsegen.graph import ITEM_BYTES, ValueForm

Callee = Callable[..., Any]
FlatFunction = Callable[..., tuple[Tensor, ...]]
"""A function of tensors that gives a tuple of tensors: the leaves of what a module returns."""


class ModuleOperator:
    """A module, or any function of tensors, with the forms of what it takes and gives.

    It is called once, with `example_inputs`, to see what it gives. Its implementations are `in_torch` on any
    device, and `compiled`, which is ours.

    name: the operator's. inputs, outputs: the forms of its tensors; an input is called by its place, an
    output by the operator's name, with its place in brackets where there are several.

    Raises ModelError for a module in training mode, for one that cannot be called with these inputs, and
    for results that are not all tensors.
    """

    def __init__(self, module: Callee, example_inputs: Sequence[Tensor], name: str) -> None:
        if isinstance(module, nn.Module) and module.training:
            raise ModelError(f"operator {name!r} is in training mode: call .eval() on its module first")
        self.name, self.module, self.example_inputs = name, module, tuple(example_inputs)
        self.inputs = tuple(form_of(f"{name} input {at}", x) for at, x in enumerate(self.example_inputs))
        try:
            self.example_results = results = self.in_torch()(*self.example_inputs)
        except InputError as error:
            shapes = ", ".join(str(form.shape) for form in self.inputs)
            raise ModelError(f"operator {name!r} cannot run on inputs of shape {shapes}: {error}") from error
        names = [name] if len(results) == 1 else [f"{name}[{at}]" for at in range(len(results))]
        self.outputs = tuple(map(form_of, names, results))

    def in_torch(self, device: str | torch.device = "cpu") -> FlatFunction:
        """The module on a device, in inference mode; on another than the CPU, a copy of it.

        Raises OptionError for a function, which cannot be brought to another device. What it returns raises
        InputError where the module fails.
        """
        module, place = self.module, torch.device(device)
        if place.type != "cpu":
            if not isinstance(module, nn.Module):
                raise OptionError(f"operator {self.name!r} is no torch module: it cannot be put on {place}")
            module = copy.deepcopy(module).to(place)

        def run(*inputs: Tensor) -> tuple[Tensor, ...]:
            with torch.inference_mode():
                try:
                    results = module(*inputs)
                except Exception as error:  # the module's, of any type
                    raise InputError(
                        f"operator {self.name!r} failed: {type(error).__name__}: {first_line(error)}"
                    ) from error
            return self._leaves(results)

        return run

    def compiled(self, **options: Any) -> FlatFunction:
        """The module compiled by sparsegen; the options are `sparsegen.compile`'s.

        Raises OptionError for a function, and as `sparsegen.compile` does.
        """
        if not isinstance(self.module, nn.Module):
            raise OptionError(f"operator {self.name!r} is no torch module: it cannot be compiled")
        model = compile(self.module, self.example_inputs, **options)
        return lambda *inputs: self._leaves(model(*inputs))

    def _leaves(self, results: Any) -> tuple[Tensor, ...]:
        leaves = _pytree.tree_leaves(results)
        strange = next((each for each in leaves if not isinstance(each, Tensor)), None)
        if strange is not None or not leaves:
            found = "nothing" if not leaves else f"a value of type {type(strange).__name__}"
            raise ModelError(f"operator {self.name!r} returns {found}: it has to return tensors")
        return tuple(leaves)


def form_of(name: str, tensor: Tensor) -> ValueForm:
    """The form of a tensor.

    Raises ModelError for elements of a type that operators cannot pass on.
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in ITEM_BYTES:
        raise ModelError(f"{name!r} is {dtype}; operators pass on {', '.join(ITEM_BYTES)}")
    return ValueForm(name, tuple(tensor.shape), dtype)
