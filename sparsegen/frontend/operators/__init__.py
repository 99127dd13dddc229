"""One translator an ATen operator: its arguments in, layers out. Importing the package registers all."""

from sparsegen.frontend.operators import (
    activations,
    arrangement,
    attention,
    convolution,
    movement,
    normalisation,
    padding,
    pointwise,
    pooling,
    products,
    recurrent,
    reductions,
    resampling,
)
from sparsegen.frontend.operators.registry import TRANSLATORS, supported_operators

__all__ = [
    "TRANSLATORS", "activations", "arrangement", "attention", "convolution", "movement", "normalisation",
    "padding", "pointwise", "pooling", "products", "recurrent", "reductions", "resampling",
    "supported_operators",
]  # fmt: skip
