"""Any Python function on tensors, checked before it is relied on: shape, finite values, no jumps.

Where a function jumps is looked for, not proved: between the neighbouring points whose values, or whose
slopes, differ most, the interval is halved towards the greater difference, again and again. What is
continuous closes that difference; a jump stays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sparsegen.errors import RewritingError, first_line
from sparsegen.rewriting.approximation.functions import Function
from sparsegen.rewriting.approximation.gates import evaluate
from sparsegen.rewriting.approximation.tube import Array

_SUSPECTS, _HALVINGS = 64, 20
_LARGEST = 1e250
_LEAST_JUMP = 1e-6
"""Of the function's range: less may be the rounding of float32."""


def from_python(function: Callable[[Tensor], Tensor]) -> Function:
    """The function by its Python name; its results are checked at each call."""
    name = getattr(function, "__name__", None) or type(function).__name__

    def checked(x: Tensor) -> Tensor:
        try:
            result = function(x.clone())
        except Exception as error:  # whatever a user's function raises
            raise RewritingError(
                f"{name} fails on a float64 tensor of {len(x)} values ({type(error).__name__}: "
                f"{first_line(error)}): give a function that maps each element of a tensor"
            ) from error
        if not isinstance(result, Tensor) or result.shape != x.shape or result.is_complex():
            found = (
                f"a tensor of shape {tuple(result.shape)}, {result.dtype}"
                if isinstance(result, Tensor)
                else type(result).__name__
            )
            raise RewritingError(
                f"{name} returned {found} for a float64 tensor of shape {tuple(x.shape)}: "
                "let it return a real tensor of the same shape"
            )
        return result.detach().to("cpu", torch.float64)

    return Function(name, checked)


def check_values(function: Function, x: Array) -> Array:
    """The function's values at all points. Raises RewritingError where one is NaN or infinite."""
    y = evaluate(function, x)
    wrong = np.flatnonzero(~np.isfinite(y))
    if len(wrong):
        raise RewritingError(
            f"{function.name} is {y[wrong[0]]} at {x[wrong[0]]:.6g}, and must be finite on the whole "
            "interval: give an interval without such a point"
        )
    return y


def check_scale(function: Function, x: Array, y: Array) -> None:
    """Raises RewritingError where products and quotients of such numbers overflow float64, or underflow."""
    with np.errstate(all="ignore"):
        area = np.ptp(x) * np.ptp(y)
        fits = np.ptp(y) == 0 or 1 / _LARGEST < area < _LARGEST
        steepest = np.abs(np.diff(y) / np.diff(x)).max()
    if not fits or not steepest < _LARGEST:
        raise RewritingError(
            f"{function.name} goes from {y.min():.3g} to {y.max():.3g} between {x[0]:.3g} and {x[-1]:.3g}: "
            "float64 has no room to compute with: give an interval of less extreme numbers"
        )


def check_continuous(function: Function, x: Array, y: Array) -> None:
    """Raises RewritingError where the function jumps between two of these points."""
    steps = np.abs(np.diff(y))
    turns = np.abs(np.diff(y, 2, prepend=y[0], append=y[-1]))
    suspicion = (steps, np.maximum(turns[:-1], turns[1:]))
    suspects = np.unique(np.concatenate([np.argsort(each)[-_SUSPECTS:] for each in suspicion]))
    left, right = x[suspects], x[suspects + 1]
    before = _halve(function, left, right)
    after = _halve(function, *before[:2])
    jumps = (after[2] > 0.5 * before[2]) & (after[2] > _LEAST_JUMP * np.ptp(y))
    if jumps.any():
        place = int(np.argmax(np.where(jumps, after[2], 0.0)))
        raise RewritingError(
            f"{function.name} jumps by {after[2][place]:.3g} at {after[0][place]:.6g}: only continuous "
            "functions can be approximated by ReLUs; give an interval on one side of the jump"
        )


def _halve(function: Function, left: Array, right: Array) -> tuple[Array, Array, Array]:
    """Intervals halved 20 times towards the greater difference of values, and that difference."""
    at_left, at_right = check_values(function, left), check_values(function, right)
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        at_middle = check_values(function, middle)
        go_left = np.abs(at_middle - at_left) >= np.abs(at_right - at_middle)
        left, at_left = np.where(go_left, left, middle), np.where(go_left, at_left, at_middle)
        right, at_right = np.where(go_left, middle, right), np.where(go_left, at_middle, at_right)
    return left, right, np.abs(at_right - at_left)
