"""From a torch model to a checked, functional `ExportedProgram` with static shapes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import GraphModule, Node

from sparsegen.errors import ModelError, first_line
from sparsegen.frontend.calls import user_inputs
from sparsegen.frontend.examples import check_examples, check_fit, leaves, told_apart
from sparsegen.frontend.failures import export_failure, quiet_torch
from sparsegen.frontend.functional import functionalise, trace_anew
from sparsegen.frontend.modules import (
    Model,
    check_call,
    check_exportable,
    has_plain_tensors,
    has_recurrence,
    plain_copy,
    sets_weights,
)
from sparsegen.frontend.refusals import describe_path
from sparsegen.frontend.tensors import placement_problem
from sparsegen.runtime.forks import ForkSafeLock
from sparsegen.stopwatch import part

_EXCLUSIVE = ForkSafeLock()


def export_program(
    model: Model, example_inputs: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
) -> ExportedProgram:
    """The model as a program whose operators write to no tensor, its weights and shapes checked.

    Raises ModelError for a model in training mode, weights without data or not on the CPU, inputs that are
    not on the CPU or do not fit the program, shapes that are not static, a model that returns nothing, and
    one that torch.export cannot trace or that writes to its inputs or buffers.
    """
    kwargs = kwargs or {}
    check_examples(example_inputs, kwargs)
    program = export(model, example_inputs, kwargs)
    _check_no_training(program)
    _check_static(program)
    check_fit(program, example_inputs, kwargs)
    functional = _functional(program, is_ours=program is not model)
    _check_no_mutation(functional)
    _check_weights(functional)
    _check_results(functional)
    return functional


def export(
    model: Model, example_inputs: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
) -> ExportedProgram:
    """The program that torch.export makes of a module in evaluation mode; a program is one already.

    Raises ModelError for a module in training mode, and for one that torch.export cannot trace.
    """
    return model if isinstance(model, ExportedProgram) else _export(model, example_inputs, kwargs or {})


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


def stored_tensor(program: ExportedProgram, path: str) -> torch.Tensor:
    """A parameter, buffer or constant of the program; ModelError where it is no tensor."""
    stored = program.state_dict if path in program.state_dict else program.constants
    found = stored.get(path)
    if not isinstance(found, torch.Tensor):
        raise ModelError(f"'{path}' of the program is not a tensor; only tensors are supported")
    return found if found.layout == torch.strided else found.to_dense()


@part("torch.export")
def _export(
    model: torch.nn.Module, example_inputs: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> ExportedProgram:
    check_exportable(model)
    check_call(model, len(example_inputs), kwargs)
    if not has_plain_tensors(model):
        model = plain_copy(model)
    try:
        weights = (*model.parameters(), *model.buffers())
        given = [each for each in leaves(example_inputs, kwargs) if isinstance(each, torch.Tensor)]
        example_inputs, kwargs = told_apart(example_inputs, kwargs, weights)
        with _tracing(*weights, *given), quiet_torch(), warnings.catch_warnings():
            if sets_weights(model) or has_recurrence(model):  # export takes that for a state that it loses
                warnings.filterwarnings("ignore", message="The tensor attribute", category=UserWarning)
            return torch.export.export(model, example_inputs, kwargs)
    except Exception as error:  # whatever the model's own code or the tracer raises
        raise export_failure(error, model, leaves(example_inputs, kwargs)) from error


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


def _check_weights(program: ExportedProgram) -> None:
    """Check the parameters, buffers and constants that operators read."""
    nodes = (node for node in program.graph.nodes if node.op == "placeholder")
    for node, spec in zip(nodes, program.graph_signature.input_specs, strict=True):
        if spec.kind != InputKind.USER_INPUT and node.users:
            path = spec.target or node.name
            if problem := placement_problem(path, stored_tensor(program, path)):
                raise ModelError(problem)


def _check_results(program: ExportedProgram) -> None:
    results = program.graph.output_node().args[0]
    if not results:
        raise ModelError("the model returns nothing: let its forward return the tensors that it computes")
    for node in results:
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
                f"Give the batches to compile for, batches=[1, 4, 16] (--batches); other sizes have to be "
                f"static: export once for each"
            )
        raise ModelError(
            f"operator {node.target} in {describe_path(module_path(node))} gives the shape {shape}, "
            f"which depends on values, or on a size that is dynamic; shapes must be static"
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
