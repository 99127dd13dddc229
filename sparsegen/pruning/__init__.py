"""Pruning: which weights of a model are set to zero, and by what rule."""

from sparsegen.pruning.block import block
from sparsegen.pruning.column_combine import column_combine
from sparsegen.pruning.magnitude import magnitude
from sparsegen.pruning.masks import PrunedLayer, apply_masks, finalize
from sparsegen.pruning.n_m import n_m
from sparsegen.pruning.structures import Structure, parse_structure, prune
from sparsegen.pruning.vector import vector

__all__ = [
    "PrunedLayer",
    "Structure",
    "apply_masks",
    "block",
    "column_combine",
    "finalize",
    "magnitude",
    "n_m",
    "parse_structure",
    "prune",
    "vector",
]
