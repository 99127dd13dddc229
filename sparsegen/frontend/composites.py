"""What a program spells out put back as one operator, and masks in the form that kernels read.

torch.export traces `F.local_response_norm`, which is a Python function, into ten operators, and an RMS norm
that a model writes out into five. As one operator they are one layer, which reads its input once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.export import ExportedProgram
from torch.fx import Graph, Node

aten = torch.ops.aten

torch.library.define(
    "sparsegen::local_response_norm", "(Tensor x, int size, float alpha, float beta, float k) -> Tensor"
)
torch.library.impl("sparsegen::local_response_norm", "CompositeImplicitAutograd", F.local_response_norm)

_VIEWS = (aten.view.default, aten.reshape.default)
_SQUEEZES = (aten.squeeze.dim, aten.squeeze.dims)
_PADS = (aten.pad.default, aten.constant_pad_nd.default)
_RESPONSE = (
    (aten.pow.Tensor_Scalar,), (aten.add.Tensor,), (aten.mul.Tensor,), _VIEWS, _SQUEEZES,
    (aten.avg_pool3d.default,), _PADS, _VIEWS, (aten.mul.Tensor,),
)  # fmt: skip
_SQUARES = (aten.pow.Tensor_Scalar, aten.square.default, aten.mul.Tensor)
_RMS = ((aten.rsqrt.default,), (aten.add.Tensor,), (aten.mean.dim,), _SQUARES)

Call = tuple[Any, tuple[Any, ...]]
"""An operator and its arguments."""

Match = tuple[Call, Sequence[Node]]
"""What stands for an operator, and those before it that are then unread, the last of them first."""


def recognise_composites(program: ExportedProgram) -> ExportedProgram:
    """The program, changed, with the normalisations that it spells out as operators, and masks as numbers."""
    _shift_by_masks(program.graph)
    for node in list(program.graph.nodes):
        found = next((match for rule in _RULES for match in rule(node)), None)
        if found is None:
            continue
        (node.target, node.args), replaced = found
        for inner in replaced:
            program.graph.erase_node(inner)
    return program


def _shift_by_masks(graph: Graph) -> None:
    """Give attention what a mask adds to the scores in place of a mask of truth values, each made once.

    The logarithm of 1 is 0, that of 0 negative infinity.
    """
    shifts: dict[Node, Node] = {}
    for node in graph.find_nodes(op="call_function", target=aten.scaled_dot_product_attention.default):
        mask = node.kwargs.get("attn_mask", node.args[3] if len(node.args) > 3 else None)
        if not isinstance(mask, Node) or mask.meta["val"].dtype != torch.bool:
            continue
        if mask not in shifts:
            with graph.inserting_after(mask):
                real = graph.call_function(aten._to_copy.default, (mask,), {"dtype": torch.float32})
            with graph.inserting_after(real):
                shifts[mask] = graph.call_function(aten.log.default, (real,))
            for made in (real, shifts[mask]):
                made.meta = {**node.meta, "val": mask.meta["val"].to(torch.float32)}
        node.replace_input_with(mask, shifts[mask])


def _chain(node: Any, steps: Sequence[Sequence[Any]]) -> list[Any] | None:
    """The operators that lead to `node`, it first, each the first argument of the one before it.

    None where they are others than those of `steps`, or something else reads one of them.
    """
    chain: list[Any] = []
    for targets in steps:
        if not isinstance(node, Node) or node.target not in targets or len(node.users) != 1 or node.kwargs:
            return None
        chain.append(node)
        node = node.args[0]
    return chain


def _local_response_norm(node: Any) -> Iterator[Match]:
    """As torch writes it for images: x / (k + alpha * mean of x^2 over `size` channels)^beta."""
    if node.target is not aten.div.Tensor or (chain := _chain(node.args[1], _RESPONSE)) is None:
        return
    power, add, scale, _, squeeze, pool, pad, _, square = (each.args for each in chain)
    value, beta, k, alpha, size = node.args[0], power[1], add[1], scale[1], pool[1][0]
    shape, pooled = _shape(value), _shape(chain[-2])
    around = [0, 0, 0, 0, size // 2, (size - 1) // 2]
    if (
        all(isinstance(number, int | float) for number in (alpha, beta, k))
        and beta > 0
        and 4 * beta % 1 == 0
        and square == (value, value)
        and (len(shape), pooled) == (4, (shape[0], 1, *shape[1:]))
        and squeeze[1] in (1, [1])
        and pad[1:] in ((around,), (around, "constant"), (around, 0.0))
        and pool[1:] == ([size, 1, 1], [1, 1, 1])
    ):
        yield (torch.ops.sparsegen.local_response_norm.default, (value, size, alpha, beta, k)), chain


def _rms_norm(node: Any) -> Iterator[Match]:
    """The product of x and 1 / sqrt(mean of x^2 over the last dimensions + eps), in either order."""
    if node.target is not aten.mul.Tensor:
        return
    for value, other in (node.args[:2], node.args[1::-1]):
        chain = _chain(other, _RMS)
        if chain is None or not isinstance(value, Node):
            continue
        _, add, mean, square = (each.args for each in chain)
        shape, epsilon, keepdim = _shape(value), add[1], mean[2:] == (True,)
        dims = sorted(dim % len(shape) for dim in mean[1] or range(len(shape)))
        if (
            isinstance(epsilon, float)
            and keepdim
            and square in ((value,), (value, 2), (value, value))
            and dims == list(range(dims[0], len(shape)))
        ):
            yield (aten.rms_norm.default, (value, list(shape[dims[0] :]), None, epsilon)), chain


_RULES: tuple[Callable[[Any], Iterator[Match]], ...] = (_local_response_norm, _rms_norm)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.meta["val"].shape)
