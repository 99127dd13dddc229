"""The frontend, on one page: export, translate, simplify, fuse, fold, reorder, turn tokens into pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.export import ExportedProgram

from sparsegen.frontend.activations import recognise_activations
from sparsegen.frontend.composites import recognise_composites
from sparsegen.frontend.fold import fold_scales
from sparsegen.frontend.fuse import fuse_epilogues
from sparsegen.frontend.program import export_program, plain_torch
from sparsegen.frontend.refusals import warn_of_torch
from sparsegen.frontend.reorder import pool_before_pointwise, steps_before_shuffle
from sparsegen.frontend.rows import rows_to_images
from sparsegen.frontend.simplify import (
    merge_padding,
    merge_reshapes,
    merge_transposes,
    remove_unread,
    unflatten_linears,
)
from sparsegen.frontend.tokens import tokens_to_pixels
from sparsegen.frontend.translation import translate
from sparsegen.frontend.written import is_marked
from sparsegen.graph import LayerGraph
from sparsegen.options import Fallback
from sparsegen.stopwatch import part


@part("graph passes")
def from_torch(
    model: torch.nn.Module | ExportedProgram,
    example_inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    fallback: Fallback = "torch",
) -> LayerGraph:
    """The layer graph of a model in evaluation mode, for inputs of the examples' shapes and dtypes.

    The model is called with `example_inputs` by position and `kwargs` by name: tensors on the CPU, of which
    only shapes and dtypes matter, in any structure that torch.export takes; None, numbers and text become
    part of the graph. The graph owns copies of the weights. It computes in float32 also where the caller's
    autocast would not.

    A program that was rewritten for a device is taken as it is written: activations that were taken apart for
    it are not put together again.

    Operators without a kernel are torch's to compute, with one warning that names them; with `fallback`
    "error" they are refused.

    Raises:
        ModelError: a model in training mode, weights of convolutions and linear layers that are not finite,
            inputs that are not on the CPU, shapes that are not static, inputs that do not fit, or a model
            that torch.export cannot trace.
        UnsupportedOperatorError: operators that cannot be compiled; tells of all, with their modules.
    """
    with plain_torch():
        program = export_program(model, example_inputs, kwargs)
        as_written = is_marked(model)
        if not as_written:
            program = recognise_composites(program)
        graph = translate(program, fallback=fallback)
    graph = merge_transposes(unflatten_linears(merge_reshapes(remove_unread(graph))))
    graph = remove_unread(rows_to_images(merge_padding(remove_unread(graph))))
    graph = fuse_epilogues(graph)
    if not as_written:  # an activation put back reads its input once, so that it can be fused in turn
        graph = fuse_epilogues(recognise_activations(graph))
    graph = steps_before_shuffle(graph)
    graph = pool_before_pointwise(remove_unread(fold_scales(graph)))
    graph = tokens_to_pixels(graph)
    warn_of_torch(graph)
    return graph
