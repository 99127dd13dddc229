"""The rules, by family; to import the package registers them."""

from sparsegen.rewriting.rules import activations

__all__ = ["activations"]
