"""Kernels: per operator, the expression (what) beside its schedule (how)."""

from sparsegen.kernels import (  # noqa: F401  (they register)
    conv,
    conversions,
    group_norm,
    local_response,
    matmul,
    move,
    normalise,
    phases,
    pointwise,
    pool,
    recurrent,
    reduce,
    resample,
    separable,
    shuffle,
    torch_own,
)
from sparsegen.kernels.registry import Context, build_kernel
from sparsegen.lowering.kernel import Kernel

__all__ = ["Context", "Kernel", "build_kernel"]
