"""The named functions, each on an interval where it needs one."""

from __future__ import annotations

from sparsegen.rewriting.approximation.functions import NAMES

INTERVALS = {
    "cube": (-1.0, 1.9),
    "log": (0.25, 4.0),
    "log10": (0.25, 4.0),
    "log1p": (-0.75, 3.0),
    "log2": (0.25, 4.0),
    "reciprocal": (0.25, 4.0),
    "rsqrt": (0.25, 4.0),
    "sqrt": (0.0, 4.0),
    "square": (-1.0, 2.0),
}
EXACT = {"hardsigmoid": 2, "leaky_relu": 1}
"""How many knots make a function that is piecewise linear itself."""
CURVED = tuple(name for name in NAMES if name not in EXACT)
