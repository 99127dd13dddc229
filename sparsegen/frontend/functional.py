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
from collections.abc import Callable, Container
from typing import Any

import torch
from torch.export import ExportedProgram, default_decompositions
from torch.fx import Graph, Node

from sparsegen.stopwatch import part

aten = torch.ops.aten

_FRESH = {
    aten._upsample_bicubic2d_aa.vec, aten._upsample_bilinear2d_aa.vec, aten._upsample_nearest_exact1d.vec,
    aten._upsample_nearest_exact2d.vec, aten.abs.default, aten.adaptive_avg_pool1d.default,
    aten.adaptive_avg_pool2d.default, aten.add.Scalar, aten.add.Tensor, aten.addcdiv.default,
    aten.addcmul.default, aten.addmm.default, aten.amax.default, aten.amin.default, aten.avg_pool1d.default,
    aten.avg_pool2d.default, aten.avg_pool3d.default, aten.baddbmm.default, aten.bmm.default,
    aten.cat.default, aten.ceil.default, aten.celu.default, aten.channel_shuffle.default, aten.clamp.Tensor,
    aten.clamp.default, aten.clamp_max.Tensor, aten.clamp_max.default, aten.clamp_min.Tensor,
    aten.clamp_min.default, aten.conv1d.default, aten.conv1d.padding, aten.conv2d.default,
    aten.conv2d.padding, aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.cos.default,
    aten.div.Scalar, aten.div.Tensor, aten.elu.default, aten.erf.default, aten.exp.default,
    aten.expm1.default, aten.flip.default, aten.floor.default, aten.gelu.default, aten.glu.default,
    aten.group_norm.default, aten.gru.input,
    aten.hardshrink.default, aten.hardsigmoid.default, aten.hardswish.default, aten.hardtanh.default,
    aten.index.Tensor, aten.index_select.default, aten.instance_norm.default, aten.layer_norm.default,
    aten.leaky_relu.default, aten.lerp.Scalar, aten.linalg_vector_norm.default, aten.linear.default,
    aten.log.default, aten.log10.default, aten.log1p.default, aten.log2.default, aten.log_sigmoid.default,
    aten.log_softmax.int, aten.logsumexp.default, aten.lstm.input, aten.masked_fill.Scalar,
    aten.masked_fill.Tensor,
    aten.matmul.default, aten.max.default, aten.max.dim, aten.max.other, aten.max_pool1d.default,
    aten.max_pool2d.default, aten.maximum.default, aten.mean.default, aten.mean.dim, aten.min.default,
    aten.min.dim, aten.min.other, aten.minimum.default, aten.mish.default, aten.mm.default, aten.mul.Scalar,
    aten.mul.Tensor, aten.neg.default, aten.pad.default, aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default, aten.pow.Tensor_Scalar, aten.pow.Tensor_Tensor, aten.prelu.default,
    aten.prod.default, aten.prod.dim_int, aten.reciprocal.default, aten.relu.default, aten.repeat.default,
    aten.rms_norm.default, aten.roll.default, aten.round.default, aten.rrelu.default, aten.rsqrt.default,
    aten.rsub.Scalar,
    aten.rsub.Tensor, aten.scaled_dot_product_attention.default, aten.selu.default, aten.sigmoid.default,
    aten.sign.default, aten.silu.default, aten.sin.default, aten.softmax.int, aten.softplus.default,
    aten.softshrink.default, aten.sqrt.default, aten.square.default, aten.stack.default, aten.std.correction,
    aten.std.default, aten.std.dim, aten.sub.Scalar, aten.sub.Tensor, aten.sum.default, aten.sum.dim_IntList,
    aten.tanh.default, aten.threshold.default, aten.trunc.default, aten.upsample_bicubic2d.vec,
    aten.upsample_bilinear2d.vec, aten.upsample_linear1d.vec, aten.upsample_nearest1d.vec,
    aten.upsample_nearest2d.vec, aten.var.correction, aten.var.default, aten.var.dim,
    aten.var_mean.correction, aten.where.ScalarOther, aten.where.ScalarSelf, aten.where.self,
}  # fmt: skip
"""Operators that torch leaves as they are, and whose results share no memory with what they read."""

_VIEWS = {
    aten.chunk.default,
    aten.contiguous.default,
    aten.expand.default,
    aten.expand_as.default,
    aten.narrow.default,
    aten.permute.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.t.default,
    aten.transpose.int,
    aten.unbind.int,
    aten.unsqueeze.default,
    aten.view.default,
    operator.getitem,
}
"""Operators that torch leaves as they are, or the translators pass on; results may share memory."""

_RESHAPES = {aten.flatten.using_ints, aten.reshape.default, aten.unflatten.int}
_ASSERTIONS = {aten._assert_tensor_metadata.default}


def _in_place_form(fresh: Any) -> Any:
    """The operator that writes to its first argument what `fresh` gives; None where there is none."""
    packet = getattr(aten, f"{fresh.overloadpacket.__name__}_", None)
    return getattr(packet, fresh._overloadname, None)


_FUNCTIONAL = {form: fresh for fresh in _FRESH if (form := _in_place_form(fresh)) is not None}
"""Operators that write to their first argument, and what gives the same in a tensor of its own."""

_BATCH_NORM = aten._native_batch_norm_legit_no_training.default

_COMPOSED = {
    getattr(aten, name)
    for name in (
        "_weight_norm", "absolute", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_tensors",
        "chain_matmul", "clip", "column_stack", "concat", "concatenate", "cosine_similarity", "diff",
        "divide", "dstack", "einsum", "fix", "fliplr", "flipud", "frobenius_norm", "ger", "gru_cell",
        "hstack", "inner", "kron", "l1_loss", "linalg_matmul", "linalg_multi_dot", "linalg_norm",
        "linalg_vecdot", "lstm_cell", "multiply", "negative", "outer", "pairwise_distance", "rnn_relu_cell",
        "rnn_tanh_cell", "row_stack", "special_erf", "special_expit", "special_expm1", "special_log1p",
        "special_log_softmax", "special_logsumexp", "special_softmax", "std_mean", "subtract", "sum_to_size",
        "tensordot", "true_divide", "var_mean", "vstack",
    )
}  # fmt: skip
"""Operators that are other names of those that have kernels, or made of such."""


def functionalise(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place operators; convolutions, linears and pools stay whole.

    The program itself may be changed, into one that computes the same: it has to be the caller's own.
    """
    with part("rewriting"):
        if _Rewriter(program.graph, set(program.graph_signature.user_inputs)).rewrite():
            return program
    return trace_anew(program)


@part("decompositions")
def trace_anew(program: ExportedProgram) -> ExportedProgram:
    """As `functionalise`, by torch's own second trace; the program stays as it is.

    Operators that are made of others which have kernels become these.
    """
    with warnings.catch_warnings():
        # torch warns of a class that it uses itself; the user can do nothing about it.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        functional: ExportedProgram = program.run_decompositions(_parts_of_composed(program))
    return functional


def _parts_of_composed(program: ExportedProgram) -> dict[Any, Any]:
    """How torch takes the composed operators apart; nothing where the program calls none."""
    if not any(getattr(node.target, "overloadpacket", None) in _COMPOSED for node in program.graph.nodes):
        return {}
    parts = default_decompositions()
    overloads = [getattr(packet, name) for packet in _COMPOSED for name in packet.overloads()]
    return {overload: parts[overload] for overload in overloads if overload in parts}


class _Rewriter:
    """Replaces, in a graph, what torch would; `rewrite` tells whether that was possible for all of it.

    Operators that write are replaced one by one: a graph that is left half done is still the model's. What
    may give another name to its input is replaced once nothing is written to any more.
    """

    def __init__(self, graph: Graph, inputs: Container[object]) -> None:
        self.graph = graph
        self.inputs = inputs
        self.place = {node: place for place, node in enumerate(graph.nodes)}
        self.own: set[Node] = set()  # results that share no memory with others
        self.rewriters: dict[Any, Callable[[Node], bool]] = {
            aten.batch_norm.default: self._batch_norm,
            aten.dropout.default: self._same,
            aten.dropout_.default: self._same,
            aten.detach.default: self._same,
            aten.detach_.default: self._same,
            aten.to.dtype: self._cast,
            aten.to.dtype_layout: self._cast,
            aten.relu6.default: self._relu6,
            aten.relu6_.default: lambda node: self._in_place(node, aten.hardtanh.default, 0.0, 6.0),
        }

    def rewrite(self) -> bool:
        constants = self._constants()
        nodes = [
            node
            for node in self.graph.nodes
            if node.op not in ("placeholder", "output") and node not in constants
        ]
        known = {*_FRESH, *_VIEWS, *_FUNCTIONAL, *_RESHAPES, *_ASSERTIONS, *self.rewriters}
        if not all(node.op == "call_function" and node.target in known for node in nodes):
            return False
        if not all(self._replace(node) for node in nodes):
            return False
        for node in nodes:
            if node.target in _RESHAPES:  # torch may copy first, which the translators pass on
                node.target, node.args = aten.view.default, (node.args[0], list(node.meta["val"].shape))
        return True

    def _constants(self) -> set[Node]:
        """What depends on no input and writes to nothing: the translation evaluates it."""
        constants: set[Node] = set()
        for node in self.graph.nodes:
            if node.op == "placeholder" and node.name not in self.inputs:
                constants.add(node)
            elif node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
                writes = node.target._schema.is_mutable
                if not writes and all(source in constants for source in node.all_input_nodes):
                    constants.add(node)
        return constants

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

    def _same(self, node: Node) -> bool:
        """The tensor that it reads, under that name too, as dropout is in evaluation mode."""
        value = node.args[0]
        assert isinstance(value, Node)
        node.replace_all_uses_with(value)
        self.graph.erase_node(node)
        return True

    def _cast(self, node: Node) -> bool:
        """A cast to the type that the tensor has already gives that tensor."""
        value, copies = node.args[0], node.kwargs.get("copy", len(node.args) > 3 and node.args[3])
        assert isinstance(value, Node)
        return not copies and _dtype(value) == _dtype(node) and self._same(node)


def _dtype(node: Node) -> torch.dtype:
    dtype: torch.dtype = node.meta["val"].dtype
    return dtype
