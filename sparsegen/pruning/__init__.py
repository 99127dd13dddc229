"""Pruning: which weights of a model are set to zero, and by what rule."""

from sparsegen.pruning.magnitude import magnitude

__all__ = ["magnitude"]
