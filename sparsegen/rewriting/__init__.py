"""Rewriting: what a device lacks, replaced by what it has.

`approximation/` replaces functions by sums of ReLUs, with a proved error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsegen.lazy import lazy_names

if TYPE_CHECKING:
    from sparsegen.rewriting.approximation import PiecewiseLinear, approximate, certificate

__all__ = ["PiecewiseLinear", "approximate", "certificate"]

__getattr__ = lazy_names(__name__, dict.fromkeys(__all__, "sparsegen.rewriting.approximation"))
