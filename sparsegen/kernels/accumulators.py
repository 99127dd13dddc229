"""The types that kernels sum in, by the type of what they sum; those without one have no kernels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sparsegen.errors import ModelError
from sparsegen.graph import FLOAT32
from sparsegen.kernels.operands import Operand, Value

_ACCUMULATORS = {FLOAT32: FLOAT32}


def accumulator_of(dtype: str) -> str:
    """The type of sums of elements, and of products of elements, of a type.

    Raises ModelError for a type that no kernel computes with.
    """
    if dtype not in _ACCUMULATORS:
        raise ModelError(
            f"no kernel computes with elements of type {dtype}; kernels take {', '.join(_ACCUMULATORS)}: "
            "convert the model, or let torch compute the operator"
        )
    return _ACCUMULATORS[dtype]


def check_dtypes(names: Iterable[str], operands: Mapping[str, Operand]) -> None:
    """Raises ModelError where one of the values is laid out in a type that no kernel computes with."""
    for name in names:
        operand = operands.get(name)
        if isinstance(operand, Value):
            accumulator_of(operand.layout.dtype)
