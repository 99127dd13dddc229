"""A depthwise and a pointwise convolution that are one kernel are one task, of a workload of its own."""

from __future__ import annotations

from dataclasses import replace

import torch

from sparsegen.database.workload import Workload
from sparsegen.target import parse_target
from sparsegen.tuner.jobs import find_tasks
from sparsegen.tuner.measure.buffers import logical, prepare
from tests.kernels.test_separable import LARGE, PAYING, fused
from tests.reference import evaluate


def test_the_two_are_one_task() -> None:
    (task,) = find_tasks(LARGE, parse_target(PAYING), threads=1, dense=False)
    assert (task.layers, task.space.kernel) == (("pointwise",), "separable")
    assert (task.workload.operator, task.workload.density) == ("separableconv2d", 0.5)
    assert (task.workload.input, task.workload.output) == ((16, 64, 56, 56), (16, 64, 56, 56))
    assert Workload.from_dict(task.workload.as_dict()) == task.workload


def test_candidates_are_checked_against_both_convolutions() -> None:
    (task,) = find_tasks(LARGE, parse_target(PAYING), threads=1, dense=False)
    case = prepare(task.job)
    (layer,) = fused(LARGE).layers
    core = replace(layer.core, steps=())  # type: ignore[type-var]
    bare = replace(LARGE, layers=[replace(layer, core=core, inputs=("x",), epilogue=())])
    (expected,) = evaluate(bare, (logical(case.source, task.job.context.layout("x")),))
    torch.testing.assert_close(case.expected.double(), expected, rtol=1e-6, atol=1e-5)
