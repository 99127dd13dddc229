"""The heterogeneous scheduler: operators on the devices that suit them, in order, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsegen.hetero.api import plan
    from sparsegen.hetero.operators.application import Application
    from sparsegen.hetero.planned import PlannedModel
    from sparsegen.hetero.solver.solve import solve

_LAZY = {
    "Application": "sparsegen.hetero.operators.application",
    "PlannedModel": "sparsegen.hetero.planned",
    "plan": "sparsegen.hetero.api",
    "solve": "sparsegen.hetero.solver.solve",
}
"""What takes long to import: it comes when it is asked for."""

__all__ = ["Application", "PlannedModel", "plan", "solve"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
