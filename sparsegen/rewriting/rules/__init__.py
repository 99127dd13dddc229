"""The rules, by family; to import the package registers them."""

from sparsegen.rewriting.rules import (
    activations,
    average_pooling,
    convolutions,
    dimensions,
    groups,
    matrices,
    max_pooling,
    moves,
    norms,
    reductions,
    resizes,
    transpositions,
)

__all__ = [
    "activations",
    "average_pooling",
    "convolutions",
    "dimensions",
    "groups",
    "matrices",
    "max_pooling",
    "moves",
    "norms",
    "reductions",
    "resizes",
    "transpositions",
]
