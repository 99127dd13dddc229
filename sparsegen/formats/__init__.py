"""Formats of weights, one a file."""

SKIPPING = frozenset({"masked_panels", "column_combined", "masked_vectors", "lookups", "sparse_winograd"})
"""Formats whose kernels skip zeros; those of all others multiply every weight."""
