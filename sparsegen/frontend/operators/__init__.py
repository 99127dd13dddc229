"""One translator an ATen operator: its arguments in, layers out. Importing the package registers all."""

from sparsegen.frontend.operators import (
    arrangement,
    convolution,
    normalisation,
    pointwise,
    pooling,
    products,
    reduction,
    resampling,
)
from sparsegen.frontend.operators.registry import TRANSLATORS, supported_operators

__all__ = [
    "TRANSLATORS", "arrangement", "convolution", "normalisation", "pointwise", "pooling", "products",
    "reduction", "resampling", "supported_operators",
]  # fmt: skip
