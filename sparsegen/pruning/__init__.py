"""Pruning: which weights of a model are set to zero, and by what rule."""

from sparsegen.pruning.block import block
from sparsegen.pruning.budget import budget
from sparsegen.pruning.column_combine import column_combine
from sparsegen.pruning.kernel import kernel
from sparsegen.pruning.magnitude import magnitude
from sparsegen.pruning.masks import PrunedLayer, apply_masks, finalize
from sparsegen.pruning.n_m import n_m
from sparsegen.pruning.schedule import CubicSchedule, GradualPruning
from sparsegen.pruning.structures import Structure, parse_structure, prune
from sparsegen.pruning.vector import vector

__all__ = [
    "CubicSchedule",
    "GradualPruning",
    "PrunedLayer",
    "Structure",
    "apply_masks",
    "block",
    "budget",
    "column_combine",
    "finalize",
    "kernel",
    "magnitude",
    "n_m",
    "parse_structure",
    "prune",
    "vector",
]
