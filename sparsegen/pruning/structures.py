"""Sparse structures by text, as commands and tables name them: `unstructured`, `vector:8`, `2:4`, ..."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsegen.errors import PruningError
from sparsegen.formats.structure_names import (
    COLUMN_COMBINED,
    UNSTRUCTURED,
    UNSTRUCTURED_GLOBAL,
    of_block,
    of_ratio,
    of_rows,
)
from sparsegen.pruning.block import SHAPE, check_shape
from sparsegen.pruning.masks import PrunedLayer, report
from sparsegen.pruning.n_m import check_ratio
from sparsegen.pruning.prunable import Model, prunable_layers
from sparsegen.pruning.registry import find_method
from sparsegen.pruning.selection import check_rows, check_sparsity
from sparsegen.pruning.vector import ROWS

DEFAULT_SPARSITY = 0.5

ALLOWED = (
    "unstructured or unstructured:global",
    "vector or vector:ROWS",
    "kernel or kernel:ROWS",
    "block or block:ROWSxCOLUMNS",
    "column-combined or column-combined:annealing",
    "N:M, such as 2:4, or N:MxROWS",
)
"""The texts of structures, as messages list them."""


@dataclass(frozen=True)
class Structure:
    """What shape of zeros to prune for, and how many.

    `name` is the canonical text (`vector` is `vector:4`), `sparsity` the share of weights to remove; 0
    leaves them as they are. Column combining may remove more, where weights conflict. `method` is the
    registered one, with its `options`.
    """

    name: str
    sparsity: float
    method: str
    options: tuple[tuple[str, Any], ...] = ()

    def prune(
        self, model: Model, *, skip: Sequence[str] | None = None, linear: bool = False
    ) -> tuple[PrunedLayer, ...]:
        """Prune `model` in place; `skip` and `linear` are those of `sparsegen.pruning.magnitude`.

        A module's masks are held by hooks, which `sparsegen.pruning.finalize` removes.

        Raises PruningError where the method does, and for a model without a layer to prune.
        """
        if self.sparsity == 0:
            return report(prunable_layers(model, skip=skip, linear=linear))
        return find_method(self.method).prune(model, skip=skip, linear=linear, **dict(self.options))


def parse_structure(text: str, *, sparsity: float | None = None) -> Structure:
    """The structure that `text` names.

    Texts: `unstructured`, and `unstructured:global` with one threshold for all layers; `vector` of 4 output
    channels, `vector:8`; `kernel`, whole filters of 4 output channels, `kernel:8`; `block` of 4x4 output by
    input channels, `block:4x2`; `column-combined`, partitioned greedily, or `column-combined:annealing`;
    `2:4` or any N:M, and `2:4x4` where 4 output channels choose together. A sparsity of None stands for
    0.5, or for 1 - N/M.

    Raises PruningError for another text, a sparsity outside [0, 1), and one other than 1 - N/M (or 0).
    """
    if sparsity is not None:
        check_sparsity(sparsity)
    for pattern, build in _PATTERNS:
        match = re.fullmatch(pattern, text, flags=re.ASCII)
        if match:
            return build(match, sparsity)
    raise PruningError(f"structure is {text!r}: choose one of {'; '.join(ALLOWED)}")


def prune(
    model: Model,
    structure: str,
    *,
    sparsity: float | None = None,
    skip: Sequence[str] | None = None,
    linear: bool = False,
) -> tuple[PrunedLayer, ...]:
    """Prune `model` in place to a sparse structure: `unstructured`, `vector:8`, `2:4`, ...

    `parse_structure` tells the texts and the default sparsity; every method, with all of its options,
    is in `sparsegen.pruning`. The masks of a module are those of `torch.nn.utils.prune`, so that any
    training loop fine-tunes with them held; `sparsegen.pruning.finalize` makes them permanent.
    `skip` holds the names, or shell patterns of names, of the layers that stay dense; None
    stands for the first convolution and the classifier. `linear` prunes linear layers too.

    Returns what became of each layer, in the model's order.

    Raises PruningError for an unknown structure, options that cannot be, and a model without a layer to
    prune.
    """
    return parse_structure(structure, sparsity=sparsity).prune(model, skip=skip, linear=linear)


def structure_name(method: str, options: Mapping[str, Any]) -> str:
    """The text of the structure that a registered method makes with these options, those left out its own.

    A method that chooses N and M, or of how many filters, for each layer makes `N:M` or `kernel:ROWS`.
    """
    rows = options.get("rows")
    if method in ("vector", "kernel"):
        return of_rows(method, rows or ROWS)  # type: ignore[arg-type]
    if method == "block":
        return of_block(*options.get("shape", SHAPE))
    if method == "N:M":
        return of_ratio(options["n"], options["m"], rows or 1)
    if method == "budget":
        return of_rows("kernel", rows) if rows else "N:M"
    partition = options.get("method", "greedy")
    return method if partition == "greedy" else f"{method}:{partition}"


def _structure(rule: str, sparsity: float | None, **options: Any) -> Structure:
    sparsity = DEFAULT_SPARSITY if sparsity is None else sparsity
    name = structure_name(rule, options)
    return Structure(name, sparsity, rule, (("sparsity", sparsity), *options.items()))


def _unstructured(match: re.Match[str], sparsity: float | None) -> Structure:
    return _structure(UNSTRUCTURED_GLOBAL if match[1] else UNSTRUCTURED, sparsity)


def _of_rows(match: re.Match[str], sparsity: float | None) -> Structure:
    """Vectors or kernels of some output channels."""
    rows = int(match[2] or ROWS)
    check_rows(rows)
    return _structure(match[1], sparsity, rows=rows)


def _block(match: re.Match[str], sparsity: float | None) -> Structure:
    shape = (int(match[1]), int(match[2])) if match[1] else SHAPE
    check_shape(shape)
    return _structure("block", sparsity, shape=shape)


def _column_combined(match: re.Match[str], sparsity: float | None) -> Structure:
    return _structure(COLUMN_COMBINED, sparsity, method=match[1] or "greedy")


def _n_m(match: re.Match[str], sparsity: float | None) -> Structure:
    n, m, rows = int(match[1]), int(match[2]), int(match[3] or 1)
    check_ratio(n, m)
    check_rows(rows)
    share = 1 - n / m
    if sparsity and abs(sparsity - share) > 1e-6:
        raise PruningError(
            f"{n}:{m} removes {share:.4g} of the weights, a sparsity of {sparsity} was asked for: leave the "
            "sparsity out, or choose another structure"
        )
    options = {"n": n, "m": m, "rows": rows}
    given = share if sparsity is None else sparsity
    return Structure(structure_name("N:M", options), given, "N:M", tuple(options.items()))


_PATTERNS: tuple[tuple[str, Callable[[re.Match[str], float | None], Structure]], ...] = (
    (r"unstructured(:global)?", _unstructured),
    (r"(vector|kernel)(?::(\d+))?", _of_rows),
    (r"block(?::(\d+)x(\d+))?", _block),
    (r"column-combined(?::(greedy|annealing))?", _column_combined),
    (r"(\d+):(\d+)(?:x(\d+))?", _n_m),
)
