"""Functions of one variable as sums of ReLUs: the fewest for an error, the least error of a number.

A request walks the files in this order: `arguments` (what is asked for), `functions` or `python_function`
(what is known of f), `gates` and `probing` (where it is looked at), `search` (the least error) over `tube`
(the shortest path through gates), `proof` (the error that holds), `piecewise` (the result). `calibration` and
`weights` are for calibration values, `optimality` shows anew that nothing better exists, `picture` draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsegen.lazy import lazy_names

if TYPE_CHECKING:
    from sparsegen.rewriting.approximation.api import approximate
    from sparsegen.rewriting.approximation.optimality import Certificate, certificate
    from sparsegen.rewriting.approximation.piecewise import PiecewiseLinear

__all__ = ["Certificate", "PiecewiseLinear", "approximate", "certificate"]

__getattr__ = lazy_names(
    __name__,
    {
        "Certificate": "sparsegen.rewriting.approximation.optimality",
        "PiecewiseLinear": "sparsegen.rewriting.approximation.piecewise",
        "approximate": "sparsegen.rewriting.approximation.api",
        "certificate": "sparsegen.rewriting.approximation.optimality",
    },
)
