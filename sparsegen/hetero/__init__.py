"""The heterogeneous scheduler: operators on the devices that suit them, in order, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsegen.lazy import lazy_names

if TYPE_CHECKING:
    from sparsegen.hetero.api import plan
    from sparsegen.hetero.operators.application import Application
    from sparsegen.hetero.planned import PlannedModel
    from sparsegen.hetero.plans.plan_json import load_plan, save_plan
    from sparsegen.hetero.solver.solve import solve

__all__ = ["Application", "PlannedModel", "load_plan", "plan", "save_plan", "solve"]

__getattr__ = lazy_names(
    __name__,
    {
        "Application": "sparsegen.hetero.operators.application",
        "PlannedModel": "sparsegen.hetero.planned",
        "load_plan": "sparsegen.hetero.plans.plan_json",
        "plan": "sparsegen.hetero.api",
        "save_plan": "sparsegen.hetero.plans.plan_json",
        "solve": "sparsegen.hetero.solver.solve",
    },
)
