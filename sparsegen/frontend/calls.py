"""How a program is called: its arguments' names and structure, by torch.export's pytrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from sparsegen.graph import CallForm


def user_inputs(program: ExportedProgram) -> list[Node]:
    """Placeholders of the program's own inputs, in order (parameters and buffers left out).

    An argument that is None, a number or a string has one as well: its value is `meta["val"]`.
    """
    placeholders = (node for node in program.graph.nodes if node.op == "placeholder")
    specs = program.graph_signature.input_specs
    return [node for node, spec in zip(placeholders, specs, strict=True) if spec.kind == InputKind.USER_INPUT]


def tensor_inputs(program: ExportedProgram) -> list[Node]:
    """Those of the program's own inputs that are tensors."""
    return [node for node in user_inputs(program) if isinstance(node.meta.get("val"), torch.Tensor)]


def call_form(program: ExportedProgram) -> CallForm:
    """How the program is called."""
    nodes, spec = user_inputs(program), program.call_spec.in_spec
    assert spec is not None
    positional, keywords = spec.children()
    names, leaf = [], 0
    for argument in positional.children():
        # torch.export calls the placeholder of a whole argument by the argument's name.
        names.append(nodes[leaf].name if argument.is_leaf() else "")
        leaf += argument.num_leaves
    fixed = {
        place: node.meta.get("val")
        for place, node in enumerate(nodes)
        if not isinstance(node.meta.get("val"), torch.Tensor)
    }
    leaves = tuple(f"input '{node.name}'" for node in nodes)
    return CallForm(spec, (*names, *(keywords.context or ())), len(names), leaves, fixed)


def in_order(program: ExportedProgram, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments in the program's order, others after them."""
    spec = program.call_spec.in_spec
    assert spec is not None
    order = spec.children()[1].context or ()
    known = {name: kwargs[name] for name in order if name in kwargs}
    return {**known, **kwargs}
