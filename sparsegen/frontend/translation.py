"""From an exported program to a layer graph: one layer or more an operator, none folded or fused yet."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.fx.node import map_arg

from sparsegen.errors import ModelError
from sparsegen.frontend.builder import CallSite, GraphBuilder
from sparsegen.frontend.operators import TRANSLATORS
from sparsegen.frontend.operators.pointwise import BROADCASTING
from sparsegen.frontend.program import module_path, stored_tensor
from sparsegen.frontend.refusals import RefusedCallError, unsupported
from sparsegen.frontend.tensors import type_problem
from sparsegen.graph import Identity, LayerGraph, Shape

_OF_SHAPE_ALONE = {
    "aten.empty_like.default", "aten.full_like.default", "aten.new_empty.default", "aten.new_full.default",
    "aten.new_ones.default", "aten.new_zeros.default", "aten.ones_like.default", "aten.zeros_like.default",
}  # fmt: skip
"""Operators that read of their first argument its shape and type, not its elements."""

Values = dict[Node, Any]
"""What each node stands for: a `Value`, or a tuple of them where its operator has several results."""


def translate(program: ExportedProgram) -> LayerGraph:
    """The layer graph of a program that `export_program` made.

    Raises UnsupportedOperatorError, which tells of all operators that are not supported, and ModelError
    for weights that are not finite and for results that are no tensors.
    """
    builder = GraphBuilder()
    values = _bind_placeholders(program, builder)
    refusals: list[RefusedCallError] = []
    for node in program.graph.nodes:
        is_assertion = node.meta.get("val") is None and not node.users
        if node.op == "call_function" and not is_assertion:
            try:
                values[node] = _translate_call(builder, node, values)
            except RefusedCallError as refusal:
                refusals.append(refusal)
                values[node] = _stand_in(builder, node.name, node.meta.get("val"))
        elif node.op == "get_attr":
            values[node] = operator.attrgetter(node.target)(program.graph_module)
    if refusals:
        raise unsupported(refusals)
    outputs, known = _outputs(builder, program, values)
    spec = program.call_spec.out_spec
    return builder.build(outputs, known, None if spec is None or spec.is_leaf() else spec)


def _stand_in(builder: GraphBuilder, name: str, value: Any) -> Any:
    """What stands for a refused operator's results, so that translation can go on to the next refusal."""
    if isinstance(value, list | tuple):
        return tuple(_stand_in(builder, name, part) for part in value)
    return builder.add_unknown(name, tuple(value.shape) if isinstance(value, torch.Tensor) else ())


def _bind_placeholders(program: ExportedProgram, builder: GraphBuilder) -> Values:
    values: Values = {}
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    for node, spec in zip(placeholders, program.graph_signature.input_specs, strict=True):
        if spec.kind == InputKind.USER_INPUT:
            values[node] = builder.add_input(node.name, tuple(node.meta["val"].shape))
            continue
        if node.users:
            path = spec.target or node.name
            values[node] = stored = stored_tensor(program, path)
            builder.parameters[id(stored)] = path
    return values


def _translate_call(builder: GraphBuilder, node: Node, values: Values) -> Any:
    if _is_empty(node.meta.get("val")):
        return torch.empty(tuple(node.meta["val"].shape), dtype=node.meta["val"].dtype)
    if node.target is operator.getitem:
        return _result(builder, node, values)
    site = _call_site(builder, node)
    if not isinstance(node.target, torch._ops.OpOverload):
        site.refuse("it is no ATen operator")
    if str(node.target) in _OF_SHAPE_ALONE:
        values = {**values, **_empties(node)}
    if _is_known(node, values):
        with torch.no_grad():
            return node.target(*_resolve(node.args, values), **_resolve(node.kwargs, values))
    translator = TRANSLATORS.get(site.operator)
    if translator is None:
        site.refuse("sparsegen has no such operator")
    dtype = _first_result(node).dtype
    if dtype != torch.float32:
        if any(_is_unknown_of_another_type(source, values) for source in node.all_input_nodes):
            return _stand_in(builder, node.name, node.meta["val"])  # what was refused before has that type
        _check_types(builder, node, values)
        site.refuse(
            f"it gives {dtype}; sparsegen computes in float32: leave casts to other types, and autocast, out "
            f"of the model"
        )
    return translator(site, *_arguments(node, values))


def _empties(node: Node) -> Values:
    """Tensors of the shapes and types of what a node reads, which take no memory."""
    metas = {source: source.meta["val"] for source in node.all_input_nodes}
    return {
        source: torch.zeros((), dtype=meta.dtype, device="cpu").expand(tuple(meta.shape))
        for source, meta in metas.items()
    }


def _is_empty(value: Any) -> bool:
    """Whether a node's value is a tensor without elements: a constant, whatever computes it."""
    return isinstance(value, torch.Tensor) and value.numel() == 0


def _is_unknown_of_another_type(node: Node, values: Values) -> bool:
    value = node.meta.get("val")
    return isinstance(values[node], str) and isinstance(value, torch.Tensor) and value.dtype != torch.float32


def _check_types(builder: GraphBuilder, node: Node, values: Values) -> None:
    """Raise ModelError for a parameter or buffer whose type makes an operator's result another one."""
    for source in node.all_input_nodes:
        known = values[source]
        path = builder.parameters.get(id(known))
        if path is not None and (problem := type_problem(path, known)):
            raise ModelError(problem)


def _result(builder: GraphBuilder, node: Node, values: Values) -> Any:
    """One of the results of an operator that has several."""
    source, index = node.args
    assert isinstance(source, Node)
    assert isinstance(index, int)
    if isinstance(values[source], str):  # it stands in for a refused operator
        return values[source]
    if values[source][index] is None and node.users:
        _call_site(builder, source).refuse(f"its result {index} is used; only result 0 is supported")
    return values[source][index]


def _call_site(builder: GraphBuilder, node: Node) -> CallSite:
    translators = [TRANSLATORS.get(str(user.target)) for user in node.users]
    return CallSite(
        builder,
        str(node.target),
        module_path(node),
        _shape(node),
        broadcasts=all(translator in BROADCASTING for translator in translators),
    )


def _first_result(node: Node) -> torch.Tensor:
    value = node.meta["val"]
    first: torch.Tensor = value[0] if isinstance(value, list | tuple) else value
    return first


def _shape(node: Node) -> Shape:
    first = _first_result(node)
    return tuple(first.shape) if isinstance(first, torch.Tensor) else ()


def _is_known(node: Node, values: Values) -> bool:
    """Whether the operator's result can be computed now: from constants alone, and not at random."""
    assert isinstance(node.target, torch._ops.OpOverload)
    reads = [values[source] for source in node.all_input_nodes]
    parts = [part for value in reads for part in (value if isinstance(value, list | tuple) else (value,))]
    is_random = torch.Tag.nondeterministic_seeded in node.target.tags
    return not is_random and not any(isinstance(part, str) for part in parts)


def _resolve(arguments: Any, values: Values) -> Any:
    return map_arg(arguments, lambda node: values[node])


def _arguments(node: Node, values: Values) -> list[Any]:
    """The call's arguments in the order of the operator's schema, defaults filled in."""
    assert isinstance(node.target, torch._ops.OpOverload)
    given = list(_resolve(node.args, values))
    for argument in node.target._schema.arguments[len(given) :]:
        given.append(_resolve(node.kwargs.get(argument.name, argument.default_value), values))
    return given


def _outputs(
    builder: GraphBuilder, program: ExportedProgram, values: Values
) -> tuple[tuple[str, ...], dict[int, Any]]:
    """Names of the values that the model returns, and by position what it returns whatever its inputs are."""
    computed, known = [], {}
    for position, result in enumerate(program.graph.output_node().args[0]):
        value = values[result] if isinstance(result, Node) else result
        if isinstance(result, Node) and isinstance(value, str):
            computed.append(_computed(builder, value))
        else:
            known[position] = value.detach().clone() if isinstance(value, torch.Tensor) else value
    return tuple(computed), known


def _computed(builder: GraphBuilder, value: str) -> str:
    """Name of an output's value; an input is copied by a layer of its own."""
    if value not in builder.inputs:
        return value
    return builder.add_layer("output", Identity(), (value,), builder.shapes[value])
