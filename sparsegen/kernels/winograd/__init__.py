"""Winograd's minimal filtering for convolutions of more than one tap.

Best for: dense weights, or few zeros: of a 3x3 filter's 9 multiplications 4 (tiles of 2 x 2 outputs) or 2.25
(4 x 4) remain, of the 49 of a 7x7 one with stride 2 there remain 10.6, but no zeros. The sparse kernel skips
filters that are zero everywhere, of whole groups of output channels: best where weights are pruned so. With a
stride they gain least: of a 3x3 filter's 9 there remain 5.1 or 6.25; at 80 % direct panels are level.
Results differ from a direct convolution's by some 1e-6 or 1e-5 of their largest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.registry import Once
from sparsegen.kernels.winograd.expression import arguments, expression
from sparsegen.kernels.winograd.filters import filters
from sparsegen.kernels.winograd.prefetch import plan_prefetch
from sparsegen.kernels.winograd.problem import SparseWinogradSchedule, WinogradProblem, WinogradSchedule
from sparsegen.kernels.winograd.schedule import schedule
from sparsegen.lowering.kernel import Kernel, as_argument

__all__ = ["SparseWinogradSchedule", "WinogradProblem", "WinogradSchedule", "winograd"]


def winograd(
    problem: WinogradProblem, knobs: WinogradSchedule, *, source: str, epilogue: Epilogue, once: Once
) -> Kernel:
    """The kernel of a problem under a schedule; `source` names the input value, `once` is a context's."""
    problem = problem.arranged(knobs)
    weight, packed = problem.conv.weight, arguments(problem, knobs)
    kind = "sparse_winograd" if isinstance(knobs, SparseWinogradSchedule) else "winograd"

    def module() -> Any:
        function = expression(problem, knobs, epilogue)
        masked = filters(problem, knobs).masked
        return schedule(function, knobs, batch_lanes=problem.out.batch_lanes, masked=masked)

    return Kernel(
        kind=kind,
        module=once(("winograd", problem.identity, knobs, epilogue.identity), module),
        store=problem.store(knobs),
        arguments=(source, *map(as_argument, packed), *epilogue.arguments),
        format=kind,
        density=float(np.count_nonzero(weight)) / weight.size,
        weight_bytes=packed[0].nbytes,
        prefetch=plan_prefetch(problem, knobs),
        schedule=knobs.as_dict(),
    )
