"""The rules, by family; to import the package registers them."""

from sparsegen.rewriting.rules import (
    activations,
    affine,
    arithmetic,
    extremes,
    native,
    products,
    recurrent,
    relus,
    sigmoids,
    softmax,
)

__all__ = [
    "activations",
    "affine",
    "arithmetic",
    "extremes",
    "native",
    "products",
    "recurrent",
    "relus",
    "sigmoids",
    "softmax",
]
