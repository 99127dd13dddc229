"""From an exported program to a layer graph: one layer or more an operator, none folded or fused yet.

A call is drafted by its operator's translator. Where there is none, or it refuses the call, what it had added
is taken away again, and torch computes the call: the conditions of a kernel stand in its translator alone.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.fx.node import map_arg

from sparsegen.errors import ModelError, first_line
from sparsegen.frontend.builder import CallSite, GraphBuilder
from sparsegen.frontend.calls import call_form
from sparsegen.frontend.externs import add_extern, clone, torch_fault
from sparsegen.frontend.operators import TRANSLATORS
from sparsegen.frontend.operators.pointwise import BROADCASTING
from sparsegen.frontend.program import module_path, stored_tensor
from sparsegen.frontend.refusals import RefusedCallError, describe_path, unsupported
from sparsegen.frontend.tensors import type_problem
from sparsegen.graph import FLOAT32, Identity, LayerGraph, Shape
from sparsegen.options import Fallback

_OF_SHAPE_ALONE = {
    "aten.empty_like.default", "aten.full_like.default", "aten.new_empty.default", "aten.new_full.default",
    "aten.new_ones.default", "aten.new_zeros.default", "aten.ones_like.default", "aten.zeros_like.default",
}  # fmt: skip
"""Operators that read of their first argument its shape and type, not its elements."""

Values = dict[Node, Any]
"""What each node stands for: a `NodeValue`, or a tuple of them where its operator has several results."""


def translate(program: ExportedProgram, *, fallback: Fallback = "torch") -> LayerGraph:
    """The layer graph of a program that `export_program` made.

    Raises UnsupportedOperatorError, which tells of all operators that are not supported (with `fallback`
    "torch", of those that torch cannot compute either), and ModelError for weights that are not finite.
    """
    translation = _Translation(program, fallback)
    for node in program.graph.nodes:
        is_assertion = node.meta.get("val") is None and not node.users
        if node.op == "call_function" and not is_assertion:
            translation.values[node] = translation.call(node)
        elif node.op == "get_attr":
            translation.values[node] = operator.attrgetter(node.target)(program.graph_module)
    if translation.refusals:
        raise unsupported(translation.refusals)
    outputs, known = translation.outputs()
    spec = program.call_spec.out_spec
    out_spec = None if spec is None or spec.is_leaf() else spec
    return translation.builder.build(outputs, known, out_spec, call_form(program))


def kernel_fault(node: Node, values: Values) -> str | None:
    """Why no kernel can serve a call, whatever its arguments' values; None where one may.

    The operator's translator has the last word: it knows what its kernels cannot do.
    """
    if str(node.target) not in TRANSLATORS:
        return "sparsegen has no such operator"
    dtype = _first_result(node).dtype
    if dtype != torch.float32:
        return (
            f"it gives {dtype}; sparsegen computes in float32: leave casts to other types, and autocast, out "
            f"of the model"
        )
    for source in node.all_input_nodes:
        if not _is_tensor(values[source]) and (found := _other_dtype(source)):
            return f"it reads {found}; sparsegen computes in float32"
    return None


@dataclass
class _Translation:
    """The graph so far, what the program's nodes stand for in it, and the calls that were refused."""

    program: ExportedProgram
    fallback: Fallback
    builder: GraphBuilder = field(default_factory=GraphBuilder)
    values: Values = field(default_factory=dict)
    refusals: list[RefusedCallError] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        placeholders = [node for node in self.program.graph.nodes if node.op == "placeholder"]
        for node, spec in zip(placeholders, self.program.graph_signature.input_specs, strict=True):
            if spec.kind == InputKind.USER_INPUT:
                self.values[node] = self._input(node)
            elif node.users:
                path = spec.target or node.name
                self.values[node] = stored = stored_tensor(self.program, path)
                self.builder.parameters[id(stored)] = path

    def _input(self, node: Node) -> Any:
        value = node.meta["val"]
        if not isinstance(value, torch.Tensor):
            return value  # None or a number, which torch.export has put where it is read
        return self.builder.add_input(node.name, tuple(value.shape), _other_dtype(node) or FLOAT32)

    def call(self, node: Node) -> Any:
        """What a call's result is: added to the graph, or evaluated now where all that it reads is known."""
        if _is_empty(node.meta.get("val")):
            return torch.empty(tuple(node.meta["val"].shape), dtype=node.meta["val"].dtype)
        if node.target is operator.getitem:
            source, index = node.args
            assert isinstance(source, Node)
            assert isinstance(index, int)
            value = self.values[source]
            return value if isinstance(value, str) else value[index]
        values = {**self.values, **_empties(node)} if str(node.target) in _OF_SHAPE_ALONE else self.values
        if isinstance(node.target, torch._ops.OpOverload) and _is_known(node, values):
            return _evaluated(node, values)
        site, mark = _call_site(self.builder, node), self.builder.mark()
        try:
            return self._by_kernels(site, node)
        except RefusedCallError as refusal:
            self.builder.undo(mark)
            return self._by_torch(site, node, refusal)

    def _by_kernels(self, site: CallSite, node: Node) -> Any:
        """The layers of the operator's translator; raises RefusedCallError where it cannot have the call."""
        if not isinstance(node.target, torch._ops.OpOverload):
            site.refuse(torch_fault(node) or "it is no ATen operator")
        if reason := kernel_fault(node, self.values):
            site.refuse(reason)
        results = TRANSLATORS[site.operator](site, *_arguments(node, self.values))
        for user in node.users:
            if user.target is operator.getitem and user.users and results[user.args[1]] is None:
                site.refuse(f"its result {user.args[1]} is used; only result 0 is supported")
        return results

    def _by_torch(self, site: CallSite, node: Node, refusal: RefusedCallError) -> Any:
        """The layer of a call that no kernel serves; a stand-in, where that is not to be."""
        reads_refused = any(
            isinstance(self.values[source], str)
            and self.values[source] in self.unknown
            and _other_dtype(source)
            for source in node.all_input_nodes
        )
        if reads_refused and site.operator in TRANSLATORS:
            return self._stand_in(node.name, node.meta["val"])  # what was refused before is the cause
        if self.fallback == "torch":
            fault = torch_fault(node)
            if fault is None:
                return add_extern(site, node, self.values, refusal.reason)
            refusal = RefusedCallError(refusal.operator, refusal.path, fault)
        elif site.operator in TRANSLATORS and _other_dtype(node):
            self._check_types(node)
        self.refusals.append(refusal)
        return self._stand_in(node.name, node.meta.get("val"))

    def _stand_in(self, name: str, value: Any) -> Any:
        """What stands for a refused operator's results, so that translation can go on to the next refusal."""
        if isinstance(value, list | tuple):
            return tuple(self._stand_in(name, part) for part in value)
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
        name = self.builder.add_unknown(name, shape)
        self.unknown.add(name)
        return name

    def _check_types(self, node: Node) -> None:
        """Raise ModelError for a parameter or buffer whose type makes an operator's result another one."""
        for source in node.all_input_nodes:
            known = self.values[source]
            path = self.builder.parameters.get(id(known))
            if path is not None and (problem := type_problem(path, known)):
                raise ModelError(problem)

    def outputs(self) -> tuple[tuple[str, ...], dict[int, Any]]:
        """Names of the values that the model returns, and by position what it returns whatever its inputs."""
        computed, known = [], {}
        for position, result in enumerate(self.program.graph.output_node().args[0]):
            value = self.values[result] if isinstance(result, Node) else result
            if isinstance(result, Node) and isinstance(value, str):
                computed.append(self._computed(result, value))
            else:
                known[position] = value.detach().clone() if isinstance(value, torch.Tensor) else value
        return tuple(computed), known

    def _computed(self, node: Node, value: str) -> str:
        """Name of an output's value; an input is copied by a layer of its own."""
        if value not in self.builder.inputs:
            return value
        if value in self.builder.input_dtypes:
            site = CallSite(self.builder, "aten.clone.default", "output", self.builder.shapes[value])
            return clone(site, value, node.meta["val"])
        return self.builder.add_layer("output", Identity(), (value,), self.builder.shapes[value])


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _other_dtype(node: Node) -> str | None:
    """The type of a node's tensor, where that is not float32."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.dtype == torch.float32:
        return None
    return str(value.dtype).removeprefix("torch.")


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


def _call_site(builder: GraphBuilder, node: Node) -> CallSite:
    translators = [TRANSLATORS.get(str(user.target)) for user in node.users]
    return CallSite(
        builder,
        str(node.target),
        module_path(node),
        _shape(node),
        broadcasts=all(translator in BROADCASTING for translator in translators),
        reads=frozenset(
            index
            for user in node.users
            if user.target is operator.getitem and user.users and isinstance(index := user.args[1], int)
        ),
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


def _evaluated(node: Node, values: Values) -> Any:
    """The result of a call of which everything is known."""
    assert isinstance(node.target, torch._ops.OpOverload)
    try:
        with torch.no_grad():
            return node.target(*_resolve(node.args, values), **_resolve(node.kwargs, values))
    except (IndexError, ValueError) as error:  # torch.export saw shapes, not values
        where = describe_path(module_path(node))
        raise ModelError(
            f"operator {node.target} in {where} refuses constants of the model: {first_line(error)}"
        ) from error


def _resolve(arguments: Any, values: Values) -> Any:
    return map_arg(arguments, lambda node: values[node])


def _arguments(node: Node, values: Values) -> list[Any]:
    """The call's arguments in the order of the operator's schema, defaults filled in."""
    assert isinstance(node.target, torch._ops.OpOverload)
    given = list(_resolve(node.args, values))
    for argument in node.target._schema.arguments[len(given) :]:
        given.append(_resolve(node.kwargs.get(argument.name, argument.default_value), values))
    return given
