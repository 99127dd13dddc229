"""Rewritten models as files, which say that they are: what was taken apart is not put together again."""

from __future__ import annotations

from pathlib import Path

import torch

from sparsegen.files import replacing
from sparsegen.frontend.written import MARK
from sparsegen.graph import LayerGraph
from sparsegen.torch_graph.module import exported


def save_rewritten(graph: LayerGraph, path: Path, device: str) -> None:
    """Write a graph as a program of torch.export's. Raises FileError where that fails."""
    program = exported(graph)
    with replacing(path) as new:
        torch.export.save(program, new, extra_files={MARK: device})
