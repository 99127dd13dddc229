"""What functions cost as steps of an epilogue: cycles a vector, on a core whose data is near.

llvm-mca's estimates of a pointwise kernel's inner loop, the mean of its models of Haswell, Zen 3 and
Skylake-X; what the loop takes for loads, stores and counting is in them.
"""

from __future__ import annotations

from sparsegen.graph import Piecewise
from sparsegen.kernels.piecewise import operations

EXACT_CYCLES = {
    "elu": 15.0, "erf": 34.0, "gelu": 28.0, "gelu_tanh": 21.0, "hardswish": 2.6, "log_sigmoid": 59.0,
    "mish": 21.0, "sigmoid": 16.0, "silu": 17.0, "softplus": 60.0, "softsign": 9.0, "tanh": 12.5,
}  # fmt: skip
"""Of the exact functions, a division included in most."""

_PER_OPERATION = 0.62
"""Of a piecewise linear function's maxima and multiply-adds, whose constants come from memory."""


def piecewise_cycles(function: Piecewise) -> float:
    """Of a piecewise linear function."""
    return _PER_OPERATION * operations(function)
