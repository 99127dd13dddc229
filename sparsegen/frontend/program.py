"""From a torch model to a checked, functional `ExportedProgram` with static shapes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import GraphModule, Node

from sparsegen.errors import ModelError, first_line
from sparsegen.frontend.failures import export_failure, quiet_torch
from sparsegen.frontend.functional import functionalise, trace_anew
from sparsegen.frontend.modules import (
    Model,
    check_call,
    check_exportable,
    has_plain_tensors,
    plain_copy,
    sets_weights,
)
from sparsegen.frontend.refusals import describe_path
from sparsegen.frontend.tensors import placement_problem
from sparsegen.runtime.forks import ForkSafeLock
from sparsegen.stopwatch import part

_EXCLUSIVE = ForkSafeLock()


def export_program(model: Model, example_inputs: tuple[torch.Tensor, ...]) -> ExportedProgram:
    """The model as a program whose operators write to no tensor, its weights and shapes checked.

    Raises ModelError for a model in training mode, weights without data or not on the CPU, inputs that are
    not float32 on the CPU or do not fit the program, shapes that are not static, and a model that
    torch.export cannot trace or that writes to its inputs or buffers.
    """
    _check_inputs(example_inputs)
    program = export(model, example_inputs)
    _check_no_training(program)
    _check_static(program)
    _check_fit(program, example_inputs)
    functional = _functional(program, is_ours=program is not model)
    _check_no_mutation(functional)
    _check_weights(functional)
    _check_results(functional)
    return functional


def export(model: Model, example_inputs: tuple[torch.Tensor, ...]) -> ExportedProgram:
    """The program that torch.export makes of a module in evaluation mode; a program is one already.

    Raises ModelError for a module in training mode, and for one that torch.export cannot trace.
    """
    return model if isinstance(model, ExportedProgram) else _export(model, example_inputs)


@contextmanager
def plain_torch() -> Iterator[None]:
    """Torch without the caller's contexts: no autocast, no inference mode, no gradients."""
    with torch.autocast("cpu", enabled=False), torch.inference_mode(False), torch.no_grad():
        yield


def module_path(node: Node) -> str:
    """Path of the module that calls `node`'s operator; "" for the model itself."""
    stack: dict[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return path.split("@")[0]  # export marks a module's second call with `@1`


def user_inputs(program: ExportedProgram) -> list[Node]:
    """Placeholders of the program's own inputs, in order (parameters and buffers left out)."""
    placeholders = (node for node in program.graph.nodes if node.op == "placeholder")
    specs = program.graph_signature.input_specs
    return [node for node, spec in zip(placeholders, specs, strict=True) if spec.kind == InputKind.USER_INPUT]


def stored_tensor(program: ExportedProgram, path: str) -> torch.Tensor:
    """A parameter, buffer or constant of the program; ModelError where it is no tensor."""
    stored = program.state_dict if path in program.state_dict else program.constants
    found = stored.get(path)
    if not isinstance(found, torch.Tensor):
        raise ModelError(f"'{path}' of the program is not a tensor; only tensors are supported")
    return found if found.layout == torch.strided else found.to_dense()


@part("torch.export")
def _export(model: torch.nn.Module, example_inputs: tuple[torch.Tensor, ...]) -> ExportedProgram:
    check_exportable(model)
    check_call(model, len(example_inputs))
    if not has_plain_tensors(model):
        model = plain_copy(model)
    try:
        weights = (*model.parameters(), *model.buffers())
        with _tracing(*weights, *example_inputs), quiet_torch(), warnings.catch_warnings():
            if sets_weights(model):  # export takes that for a state that it loses
                warnings.filterwarnings("ignore", message="The tensor attribute", category=UserWarning)
            return torch.export.export(model, example_inputs)
    except Exception as error:  # whatever the model's own code or the tracer raises
        raise export_failure(error, model, example_inputs) from error


@contextmanager
def _tracing(*tensors: torch.Tensor) -> Iterator[None]:
    """Trace `tensors` on this thread alone, which torch cannot do on several, for float32 on the CPU."""
    with ExitStack() as stack:
        stack.enter_context(_EXCLUSIVE.lock)
        # Under no_grad: a model's own `with torch.no_grad()` would otherwise hide its part in a subgraph.
        stack.enter_context(plain_torch())
        # Only inference mode takes tensors that were made in it; all others are traced as ever.
        if any(tensor.is_inference() for tensor in tensors):
            stack.enter_context(torch.inference_mode())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def _functional(program: ExportedProgram, *, is_ours: bool) -> ExportedProgram:
    """The program without in-place operators; one that is the caller's stays as it is."""
    with _tracing(*program.parameters(), *program.buffers()), quiet_torch():
        try:
            return functionalise(program) if is_ours else trace_anew(program)
        except Exception as error:  # of a program that was changed, or that torch has no rules for
            raise ModelError(
                f"torch cannot take the program apart ({type(error).__name__}: {first_line(error)}): export "
                f"the model anew with torch {torch.__version__}, its weights dense"
            ) from error


def _check_inputs(example_inputs: tuple[torch.Tensor, ...]) -> None:
    if not isinstance(example_inputs, tuple):
        raise ModelError(
            f"example inputs are a {type(example_inputs).__name__}; pass a tuple of tensors: (x,)"
        )
    for index, value in enumerate(example_inputs):
        if advice := _advice(value):
            raise ModelError(
                f"example input {index} is {_described(value)}; a dense torch.float32 tensor on cpu is "
                f"supported: {advice}"
            )
        if not value.numel():
            raise ModelError(
                f"example input {index} has the shape {tuple(value.shape)}, without elements: give every "
                f"dimension, the batch too, at least 1"
            )


def _described(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    layout = ", nested" if value.is_nested else "" if value.layout == torch.strided else f", {value.layout}"
    return f"{value.dtype} on {value.device}{layout}"


def _advice(value: Any) -> str:
    """How to make a float32 tensor on the CPU of an example input; "" for one that is."""
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
        case torch.Tensor() if value.dtype in (torch.int32, torch.int64):
            return "call .float() on it; a model that needs integers, as token ids, cannot be compiled"
        case torch.Tensor():
            return "" if value.dtype == torch.float32 else "call .float() on it"
        case np.ndarray():
            return "call torch.from_numpy(array).float()"
        case list() | tuple() | dict():
            return "wrap the model in a module whose forward takes the tensors one by one"
        case _:
            return "wrap the model in a module that sets everything but the tensors"


def _check_weights(program: ExportedProgram) -> None:
    """Check the parameters, buffers and constants that operators read."""
    nodes = (node for node in program.graph.nodes if node.op == "placeholder")
    for node, spec in zip(nodes, program.graph_signature.input_specs, strict=True):
        if spec.kind != InputKind.USER_INPUT and node.users:
            path = spec.target or node.name
            if problem := placement_problem(path, stored_tensor(program, path)):
                raise ModelError(problem)


def _check_results(program: ExportedProgram) -> None:
    for node in program.graph.output_node().args[0]:
        value = node.meta.get("val") if isinstance(node, Node) else None
        if isinstance(value, torch.Tensor) and value.numel() == 0:
            raise ModelError(
                f"the model returns a tensor of shape {tuple(value.shape)}, without elements: leave it out"
            )


def _calls(program: ExportedProgram) -> Iterator[Node]:
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            yield from (node for node in module.graph.nodes if node.op == "call_function")


def _check_no_training(program: ExportedProgram) -> None:
    for node in _calls(program):
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        names = [argument.name for argument in node.target._schema.arguments]
        given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        if given.get("train") is True or given.get("training") is True:
            raise ModelError(
                f"operator {node.target} in {describe_path(module_path(node))} is in training mode "
                f"(dropout, or batch norm on the batch's own statistics): call model.eval() before "
                f"torch.export; batch norm needs running statistics"
            )


def _check_static(program: ExportedProgram) -> None:
    inputs = set(user_inputs(program))
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or all(isinstance(size, int) for size in value.shape):
            continue
        shape = f"({', '.join(str(size) for size in value.shape)})"
        if node in inputs:
            raise ModelError(
                f"input '{node.name}' has the shape {shape}: the batch (or another size) is dynamic. "
                f"Export with static shapes and compile once per batch size"
            )
        raise ModelError(
            f"operator {node.target} in {describe_path(module_path(node))} gives the shape {shape}, "
            f"which depends on values or on a dynamic batch; shapes must be static: compile once per "
            f"batch size"
        )


def check_inputs_of(program: ExportedProgram) -> None:
    """Raise ModelError for a program that takes anything but float32 tensors, or nothing."""
    nodes = user_inputs(program)
    if not nodes:
        raise ModelError("the program takes no input: its result is a constant")
    for node in nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float32:
            found = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
            raise ModelError(f"input '{node.name}' of the program is {found}; float32 tensors are supported")


def _check_fit(program: ExportedProgram, example_inputs: tuple[torch.Tensor, ...]) -> None:
    check_inputs_of(program)
    exported = [tuple(node.meta["val"].shape) for node in user_inputs(program)]
    given = [tuple(value.shape) for value in example_inputs]
    if exported != given:
        raise ModelError(
            f"example inputs have the shapes {given}, the program was exported for {exported}: shapes "
            f"are fixed at export; export once per batch size"
        )


def _check_no_mutation(program: ExportedProgram) -> None:
    for spec in program.graph_signature.output_specs:
        if spec.kind == OutputKind.USER_INPUT_MUTATION:
            raise ModelError(
                f"the model overwrites its input '{spec.target}' in place; use the operator that does "
                f"not, as nn.ReLU(inplace=False)"
            )
        if spec.kind == OutputKind.BUFFER_MUTATION:
            raise ModelError(
                f"the model writes to its buffer '{spec.target}' in every call; a compiled model keeps "
                f"no state: remove the write or call model.eval()"
            )
        if spec.kind != OutputKind.USER_OUTPUT:
            raise ModelError(
                f"the program has an output of the kind {spec.kind.name}; only the model's own results "
                f"are supported"
            )
