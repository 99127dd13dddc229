"""A program without in-place operators: rewritten where that is plainly the same, else traced anew.

torch's own way, `run_decompositions`, traces the whole program a second time, and takes longer than the first
trace. Most programs need little of it: an activation in place, batch norm as the operator for inference.
Where every operator is one that is known here, and no tensor that is written to has another name, these are
replaced one by one by what torch would put there. Names are then truer: torch calls a view that it makes
again by the module that reads it.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from sparsegen.stopwatch import part

aten = torch.ops.aten

_FRESH = {
    aten._upsample_bicubic2d_aa.vec,
    aten._upsample_bilinear2d_aa.vec,
    aten._upsample_nearest_exact1d.vec,
    aten._upsample_nearest_exact2d.vec,
    aten.adaptive_avg_pool1d.default,
    aten.adaptive_avg_pool2d.default,
    aten.add.Tensor,
    aten.avg_pool1d.default,
    aten.avg_pool2d.default,
    aten.avg_pool3d.default,
    aten.cat.default,
    aten.channel_shuffle.default,
    aten.clamp.default,
    aten.clamp_min.default,
    aten.conv1d.default,
    aten.conv1d.padding,
    aten.conv2d.default,
    aten.conv2d.padding,
    aten.conv_transpose1d.default,
    aten.conv_transpose2d.input,
    aten.div.Tensor,
    aten.gelu.default,
    aten.group_norm.default,
    aten.hardsigmoid.default,
    aten.hardswish.default,
    aten.hardtanh.default,
    aten.instance_norm.default,
    aten.layer_norm.default,
    aten.leaky_relu.default,
    aten.linalg_vector_norm.default,
    aten.linear.default,
    aten.max_pool1d.default,
    aten.max_pool2d.default,
    aten.mean.dim,
    aten.mul.Tensor,
    aten.pad.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.pow.Tensor_Scalar,
    aten.relu.default,
    aten.rms_norm.default,
    aten.rsqrt.default,
    aten.scaled_dot_product_attention.default,
    aten.sigmoid.default,
    aten.silu.default,
    aten.sub.Tensor,
    aten.tanh.default,
    aten.upsample_bicubic2d.vec,
    aten.upsample_bilinear2d.vec,
    aten.upsample_linear1d.vec,
    aten.upsample_nearest1d.vec,
    aten.upsample_nearest2d.vec,
}
"""Operators that torch leaves as they are, and whose results share no memory with what they read."""

_VIEWS = {
    aten.contiguous.default,
    aten.expand.default,
    aten.expand_as.default,
    aten.permute.default,
    aten.slice.Tensor,
    aten.split.Tensor,
    aten.squeeze.dim,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.view.default,
    operator.getitem,
}
"""Operators that torch leaves as they are, or the translators pass on; results may share memory."""

_RESHAPES = {aten.flatten.using_ints, aten.reshape.default}

_FUNCTIONAL = {
    aten.add_.Tensor: aten.add.Tensor,
    aten.hardsigmoid_.default: aten.hardsigmoid.default,
    aten.hardswish_.default: aten.hardswish.default,
    aten.hardtanh_.default: aten.hardtanh.default,
    aten.leaky_relu_.default: aten.leaky_relu.default,
    aten.mul_.Tensor: aten.mul.Tensor,
    aten.relu_.default: aten.relu.default,
    aten.sigmoid_.default: aten.sigmoid.default,
    aten.silu_.default: aten.silu.default,
}
"""Operators that write to their first argument, and what gives the same in a tensor of its own."""

_BATCH_NORM = aten._native_batch_norm_legit_no_training.default


def functionalise(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place operators; convolutions, linears and pools stay whole.

    The program itself may be changed, into one that computes the same: it has to be the caller's own.
    """
    with part("rewriting"):
        if _Rewriter(program.graph).rewrite():
            return program
    return trace_anew(program)


@part("decompositions")
def trace_anew(program: ExportedProgram) -> ExportedProgram:
    """As `functionalise`, by torch's own second trace; the program stays as it is."""
    with warnings.catch_warnings():
        # torch warns of a class that it uses itself; the user can do nothing about it.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        functional: ExportedProgram = program.run_decompositions({})
    return functional


class _Rewriter:
    """Replaces, in a graph, what torch would; `rewrite` tells whether that was possible for all of it.

    Operators that write are replaced one by one: a graph that is left half done is still the model's. What
    may give another name to its input is replaced once nothing is written to any more.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.place = {node: place for place, node in enumerate(graph.nodes)}
        self.own: set[Node] = set()  # results that share no memory with others
        self.rewriters: dict[Any, Callable[[Node], bool]] = {
            aten.batch_norm.default: self._batch_norm,
            aten.dropout.default: self._dropout,
            aten.dropout_.default: self._dropout,
            aten.relu6.default: self._relu6,
            aten.relu6_.default: lambda node: self._in_place(node, aten.hardtanh.default, 0.0, 6.0),
        }

    def rewrite(self) -> bool:
        nodes = [node for node in self.graph.nodes if node.op not in ("placeholder", "output")]
        known = {*_FRESH, *_VIEWS, *_FUNCTIONAL, *_RESHAPES, *self.rewriters}
        if not all(node.op == "call_function" and node.target in known for node in nodes):
            return False
        if not all(self._replace(node) for node in nodes):
            return False
        for node in nodes:
            if node.target in _RESHAPES:  # torch may copy first, which the translators pass on
                node.target, node.args = aten.view.default, (node.args[0], list(node.meta["val"].shape))
        return True

    def _replace(self, node: Node) -> bool:
        if node.target in _FUNCTIONAL:
            return self._in_place(node, _FUNCTIONAL[node.target])
        if node.target in self.rewriters:
            return self.rewriters[node.target](node)
        if node.target in _FRESH:
            self.own.add(node)
        return True

    def _in_place(self, node: Node, target: Any, *more: float) -> bool:
        """Whoever reads what the node wrote to reads the node from here on, which leaves that as it is."""
        written, *others = node.all_input_nodes
        readers = {*_FRESH, *_FUNCTIONAL, *self.rewriters, _BATCH_NORM}
        if written is not node.args[0] or written not in self.own:
            return False
        if not all(reader.op == "output" or reader.target in readers for reader in written.users):
            return False
        if any(_dtype(other) != _dtype(written) for other in others):
            return False
        written.replace_all_uses_with(node, lambda reader: self.place[reader] > self.place[node])
        node.target, node.args = target, (*node.args, *more)
        self.own.add(node)
        return True

    def _batch_norm(self, node: Node) -> bool:
        if node.kwargs or len(node.args) != len(aten.batch_norm.default._schema.arguments):
            return False
        value, weight, bias, mean, variance, training, momentum, epsilon, _ = node.args
        if training or mean is None or variance is None:
            return False
        with self.graph.inserting_after(node):
            result = self.graph.call_function(operator.getitem, (node, 0))
        result.meta = {**node.meta}
        node.replace_all_uses_with(result, lambda reader: reader is not result)
        node.target, node.args = _BATCH_NORM, (value, weight, bias, mean, variance, momentum, epsilon)
        node.meta = {**node.meta, "val": (node.meta["val"], None, None)}
        self.place[result] = self.place[node]
        self.own.add(result)
        return True

    def _relu6(self, node: Node) -> bool:
        node.target, node.args = aten.hardtanh.default, (node.args[0], 0.0, 6.0)
        self.own.add(node)
        return True

    def _dropout(self, node: Node) -> bool:
        """In evaluation mode it is the tensor that it reads, under that name too."""
        value = node.args[0]
        assert isinstance(value, Node)
        node.replace_all_uses_with(value)
        self.graph.erase_node(node)
        return True


def _dtype(node: Node) -> torch.dtype:
    dtype: torch.dtype = node.meta["val"].dtype
    return dtype
