"""The heterogeneous scheduler: operators on the devices that suit them, in order, side by side."""

from sparsegen.hetero.solver.solve import solve

__all__ = ["solve"]
