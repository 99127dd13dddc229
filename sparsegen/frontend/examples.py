"""Example inputs: what torch.export can take, and whether they are those of a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.utils import _pytree

from sparsegen.errors import ModelError
from sparsegen.frontend.calls import in_order, tensor_inputs, user_inputs
from sparsegen.runtime.arguments import describe_structure

CONSTANTS = (bool, int, float, str, type(None))
"""Types of arguments that torch.export makes part of the program."""


def leaves(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """The tensors and constants that arguments are made of, in order."""
    found: list[Any] = _pytree.tree_leaves((args, dict(kwargs)))
    return found


def told_apart(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], others: Iterable[torch.Tensor] = ()
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, with copies of tensors that are there twice or are among `others`.

    torch.export takes one tensor for one value, whatever arguments it is: those would be one ever after.
    """
    seen = {id(each) for each in others}
    ids = [id(each) for each in leaves(args, kwargs) if isinstance(each, torch.Tensor)]
    if len({*ids} - seen) == len(ids):
        return args, dict(kwargs)

    def own(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in seen:
            return value.detach().clone()
        seen.add(id(value))
        return value

    apart: tuple[tuple[Any, ...], dict[str, Any]] = _pytree.tree_map(own, (args, dict(kwargs)))
    return apart


def check_examples(args: Any, kwargs: Mapping[str, Any]) -> None:
    """Raise ModelError for arguments that are not made of constants and dense tensors on the CPU."""
    if not isinstance(args, tuple):
        raise ModelError(f"example inputs are a {type(args).__name__}; pass a tuple of tensors: (x,)")
    for index, value in enumerate(leaves(args, kwargs)):
        if advice := _advice(value):
            raise ModelError(
                f"example input {index} is {_described(value)}; a dense tensor of real numbers on cpu is "
                f"supported: {advice}"
            )
        if isinstance(value, torch.Tensor) and not value.numel():
            raise ModelError(
                f"example input {index} has the shape {tuple(value.shape)}, without elements: give every "
                f"dimension, the batch too, at least 1"
            )


def check_inputs_of(program: ExportedProgram) -> None:
    """Raise ModelError for a program that takes complex tensors, or no tensor."""
    nodes = tensor_inputs(program)
    if not nodes:
        raise ModelError("the program takes no input: its result is a constant")
    for node in nodes:
        if node.meta["val"].is_complex():
            raise ModelError(
                f"input '{node.name}' of the program is {node.meta['val'].dtype}: give real and imaginary "
                f"parts as two inputs"
            )


def check_fit(program: ExportedProgram, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise ModelError for arguments that are not those that the program was exported with."""
    check_inputs_of(program)
    given, spec = _pytree.tree_flatten((args, in_order(program, kwargs)))
    if spec != program.call_spec.in_spec:
        raise ModelError(
            f"example inputs have the structure {describe_structure(spec)}, the program was exported for "
            f"{describe_structure(program.call_spec.in_spec)}: give as many, nested as those"
        )
    wanted = [node.meta.get("val") for node in user_inputs(program)]
    for what, of in (("shapes", lambda each: tuple(each.shape)), ("dtypes", lambda each: each.dtype)):
        found, exported = (
            [of(each) if isinstance(each, torch.Tensor) else each for each in values]
            for values in (given, wanted)
        )
        if found != exported:
            advice = ", or with a dynamic batch, and compile with batches=[1, 4, 16]" * (what == "shapes")
            raise ModelError(
                f"example inputs have the {what} {found}, the program was exported for {exported}: {what} "
                f"are fixed at export; export it for these{advice}"
            )


def _described(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    layout = ", nested" if value.is_nested else "" if value.layout == torch.strided else f", {value.layout}"
    return f"{value.dtype} on {value.device}{layout}"


def _advice(value: Any) -> str:
    """How to make an example input that torch.export and torch's operators take; "" for one that is so."""
    match value:
        case torch.Tensor() if value.device.type == "meta":
            return "give one with data"
        case torch.Tensor() if value.device.type != "cpu":
            return "call .cpu() on it"
        case torch.Tensor() if value.is_nested:
            return "call torch.nested.to_padded_tensor(it, 0.0)"
        case torch.Tensor() if value.is_quantized:
            return "call .dequantize() on it"
        case torch.Tensor() if value.layout != torch.strided:
            return "call .to_dense() on it"
        case torch.Tensor() if value.is_complex():
            return "give its .real and .imag, which a model may take as two inputs"
        case np.ndarray():
            return "call torch.from_numpy(array)"
        case torch.Tensor():
            return ""
        case _ if isinstance(value, CONSTANTS):
            return ""
        case _:
            return (
                "give tensors, numbers and None in tuples, lists and dicts, or call "
                "torch.export.register_dataclass on its class"
            )
