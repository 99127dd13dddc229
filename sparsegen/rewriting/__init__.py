"""Rewriting: what a device lacks, replaced by what it has.

`approximation/` replaces functions by sums of ReLUs, with a proved error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsegen.rewriting.approximation import PiecewiseLinear, approximate, certificate

__all__ = ["PiecewiseLinear", "approximate", "certificate"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("sparsegen.rewriting.approximation"), name)
