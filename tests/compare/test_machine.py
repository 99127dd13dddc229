"""The description of the machine."""

from __future__ import annotations

import torch

from sparsegen.compare.machine import describe_machine
from sparsegen.target import parse_target


def test_this_machine_is_described() -> None:
    target = parse_target("native")
    machine = describe_machine(target, 1)
    assert machine.cpu
    assert (machine.target, machine.lanes, machine.cores) == (target.name, target.lanes, target.cores)
    assert machine.torch == torch.__version__
    assert 1 < machine.fma_peak_gflops < 2000


def test_threads_past_the_cores_add_nothing_to_the_peak() -> None:
    target = parse_target("native")
    crowded, full = (describe_machine(target, threads).fma_peak_gflops for threads in (64, target.cores))
    assert crowded < 2 * full
