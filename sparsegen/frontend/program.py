"""From a torch model to a checked, functional `ExportedProgram` with static shapes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import GraphModule, Node
from torch.nn.utils import prune

from sparsegen.errors import ModelError, ToolchainError
from sparsegen.files import temporary_room
from sparsegen.frontend.builder import describe_path
from sparsegen.runtime.forks import ForkSafeLock

Model = torch.nn.Module | ExportedProgram

_EXCLUSIVE = ForkSafeLock()


def export_program(model: Model, example_inputs: tuple[torch.Tensor, ...]) -> ExportedProgram:
    """The model as a program whose operators write to no tensor, its weights and shapes checked.

    Raises SparsegenError for a model in training mode, weights that are not finite float32 on the CPU,
    inputs that are not float32 on the CPU or do not fit the program, shapes that are not static, and a
    model that torch.export cannot trace or that writes to its inputs or buffers.
    """
    _check_inputs(example_inputs)
    if not isinstance(model, torch.nn.Module | ExportedProgram):
        raise ModelError(
            f"the model is a {type(model).__name__}; pass a torch.nn.Module or a torch.export.ExportedProgram"
        )
    _check_weights(model)
    program = export(model, example_inputs)
    _check_no_training(program)
    _check_static(program)
    _check_fit(program, example_inputs)
    functional = _functionalise(program)
    _check_no_mutation(functional)
    return functional


def export(model: Model, example_inputs: tuple[torch.Tensor, ...]) -> ExportedProgram:
    """The program that torch.export makes of a module in evaluation mode; a program is one already.

    Raises SparsegenError for a module in training mode, and for one that torch.export cannot trace.
    """
    return model if isinstance(model, ExportedProgram) else _export(model, example_inputs)


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


def _export(model: torch.nn.Module, example_inputs: tuple[torch.Tensor, ...]) -> ExportedProgram:
    training = [path for path, module in model.named_modules() if module.training]
    if training:
        raise ModelError(f"{describe_path(training[0])} is in training mode: call model.eval()")
    try:
        weights = (*model.parameters(), *model.buffers())
        # Under no_grad: a model's own `with torch.no_grad()` would otherwise hide its part in a subgraph.
        with _tracing(*weights, *example_inputs), torch.no_grad(), warnings.catch_warnings():
            if prune.is_pruned(model):
                # torch's pruning sets `weight` anew in every call; export takes that for a state it loses.
                warnings.filterwarnings("ignore", message="The tensor attribute", category=UserWarning)
            return torch.export.export(model, example_inputs)
    except OSError as error:  # torch keeps a folder of its own among the temporary ones
        raise ToolchainError(f"torch.export failed on a file ({error}); {temporary_room()}") from error
    except Exception as error:  # whatever the model's own code or the tracer raises
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ModelError(
            f"torch.export cannot trace {type(model).__name__} on inputs of shapes "
            f"{', '.join(str(tuple(value.shape)) for value in example_inputs)}: {reason}. Check the input "
            f"shapes; control flow must not depend on values"
        ) from error


@contextmanager
def _tracing(*tensors: torch.Tensor) -> Iterator[None]:
    """Trace `tensors` on this thread alone, which torch cannot do on several, for float32 on the CPU."""
    with ExitStack() as stack:
        stack.enter_context(_EXCLUSIVE.lock)
        stack.enter_context(torch.autocast("cpu", enabled=False))
        # Only inference mode takes tensors that were made in it; all others are traced as ever.
        stack.enter_context(torch.inference_mode(any(tensor.is_inference() for tensor in tensors)))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def _functionalise(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place operators and views; convolutions, linears and pools stay whole."""
    with _tracing(*program.parameters(), *program.buffers()), warnings.catch_warnings():
        # torch warns of a class that it uses itself; the user can do nothing about it.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        functional: ExportedProgram = program.run_decompositions({})
    return functional


def _check_inputs(example_inputs: tuple[torch.Tensor, ...]) -> None:
    if not isinstance(example_inputs, tuple):
        raise ModelError(
            f"example inputs are a {type(example_inputs).__name__}; pass a tuple of tensors: (x,)"
        )
    for index, value in enumerate(example_inputs):
        found = (
            f"{value.dtype} on {value.device}" if isinstance(value, torch.Tensor) else type(value).__name__
        )
        if found != "torch.float32 on cpu":
            raise ModelError(f"example input {index} is {found}; a torch.float32 tensor on cpu is supported")
        if value.is_nested or value.layout not in (torch.strided, torch._mkldnn):  # type: ignore[attr-defined]
            raise ModelError(f"example input {index} is sparse or nested; give a dense tensor")
        if not value.numel():
            raise ModelError(
                f"example input {index} has the shape {tuple(value.shape)}; every size must be 1 or more"
            )


def _check_weights(model: Model) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        path, _, kind = name.rpartition(".")
        owner = describe_path(path)
        if tensor.device.type != "cpu":
            raise ModelError(f"'{kind}' of {owner} is on {tensor.device}; call model.cpu()")
        if not tensor.is_floating_point():
            continue
        if tensor.dtype != torch.float32:
            raise ModelError(f"'{kind}' of {owner} is {tensor.dtype}; call model.float()")
        if not torch.isfinite(tensor.detach()).all():
            raise ModelError(
                f"'{kind}' of {owner} has NaN or infinite values; sparsegen compiles finite weights: "
                f"repair them"
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


def _check_fit(program: ExportedProgram, example_inputs: tuple[torch.Tensor, ...]) -> None:
    nodes = user_inputs(program)
    for node in nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float32:
            found = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
            raise ModelError(f"input '{node.name}' of the program is {found}; float32 tensors are supported")
    exported = [tuple(node.meta["val"].shape) for node in nodes]
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
