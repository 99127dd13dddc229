"""The frontend, on one page: export, translate, simplify, fuse, fold, reorder, turn tokens into pixels."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from sparsegen.frontend.activations import recognise_activations
from sparsegen.frontend.fold import fold_scales
from sparsegen.frontend.fuse import fuse_epilogues
from sparsegen.frontend.program import export_program, plain_torch
from sparsegen.frontend.reorder import pool_before_pointwise
from sparsegen.frontend.simplify import (
    merge_padding,
    merge_reshapes,
    merge_transposes,
    remove_unread,
    unflatten_linears,
)
from sparsegen.frontend.tokens import tokens_to_pixels
from sparsegen.frontend.translation import translate
from sparsegen.graph import LayerGraph
from sparsegen.stopwatch import part


@part("graph passes")
def from_torch(
    model: torch.nn.Module | ExportedProgram, example_inputs: tuple[torch.Tensor, ...]
) -> LayerGraph:
    """The layer graph of a model in evaluation mode, for inputs of the examples' shapes.

    `example_inputs` are float32 tensors on the CPU; only their shapes matter. The graph owns copies of
    the weights. It computes in float32 also where the caller's autocast would not.

    Raises:
        ModelError: a model in training mode, weights of convolutions and linear layers that are not finite,
            weights or inputs that are not float32 on the CPU, shapes that are not static, inputs that do
            not fit, or a model that torch.export cannot trace.
        UnsupportedOperatorError: operators outside the supported set; tells of all, with their modules.
    """
    with plain_torch():
        graph = translate(export_program(model, example_inputs))
    graph = merge_transposes(unflatten_linears(merge_reshapes(remove_unread(graph))))
    graph = remove_unread(merge_padding(remove_unread(graph)))
    graph = fuse_epilogues(graph)
    # An activation put back reads its input once, so that it can be fused in turn.
    graph = fuse_epilogues(recognise_activations(graph))
    graph = pool_before_pointwise(remove_unread(fold_scales(graph)))
    return tokens_to_pixels(graph)
