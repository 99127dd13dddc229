"""Formats of weights, one a file."""

SKIPPING = frozenset({"masked_panels", "column_combined", "masked_vectors", "lookups", "sparse_winograd"})
"""Formats whose kernels skip zeros; those of all others multiply every weight."""

SHORT_NAMES = {
    "masked_panels": "masked",
    "masked_vectors": "vectors",
    "lookups": "lookups",
    "dense_panels": "dense",
    "column_combined": "combined",
    "sparse_winograd": "sp.winograd",
}
"""Of formats, for narrow terminals."""
