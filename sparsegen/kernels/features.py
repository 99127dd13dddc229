"""What a schedule implies for its layer, as numbers that every kernel's cost model may know."""

from __future__ import annotations

from math import log2

from sparsegen.target import Target


def implied(
    target: Target,
    *,
    threads: int,
    tasks: int,
    registers: int,
    computed: int,
    stored: int,
    multiplies: float,
    loads: float,
    working_set: int,
) -> dict[str, float]:
    """The features, by name, of what a schedule needs and does.

    registers: that hold accumulators and operands. computed, stored: positions of the output.
    multiplies: vector multiply-adds, or other operations of two operands, for the whole layer;
    loads: vectors loaded for each. working_set: bytes that a task comes back to.
    """
    return {
        "registers": registers / target.registers,
        "tasks_per_thread": tasks / threads,
        "idle": -(-tasks // threads) * threads / tasks - 1.0,
        "ragged": 1.0 - stored / computed,
        "loads_per_multiply": float(loads),
        "l1": working_set / target.l1_bytes,
        "l2": working_set / target.l2_bytes,
        "log_tasks": log2(tasks),
        "log_multiplies": log2(multiplies),
    }
