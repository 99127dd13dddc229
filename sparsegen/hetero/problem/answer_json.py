"""What a problem's solution is as JSON: seconds, names, no data of the solver's."""

from __future__ import annotations

from typing import Any

from sparsegen.hetero.problem.problem import Pipelining, Schedule
from sparsegen.hetero.solver.bounds import ROUNDING


def answer_record(answer: Schedule | Pipelining) -> dict[str, Any]:
    """A schedule or a pipelining as JSON has it."""
    return schedule_record(answer) if isinstance(answer, Schedule) else pipelining_record(answer)


def schedule_record(schedule: Schedule) -> dict[str, Any]:
    """Operators and transfers, in the order of their starts."""
    return {
        "makespan": schedule.makespan,
        "bound": schedule.bound,
        "optimal": schedule.optimal,
        "method": schedule.method,
        "operators": [
            {"name": run.task, "device": run.device, "start": run.start, "end": run.end}
            for run in schedule.runs
        ],
        "transfers": [
            {
                "operator": each.task,
                "from": each.source,
                "to": each.target,
                "start": each.start,
                "end": each.end,
            }
            for each in schedule.transfers
        ],
    }


def pipelining_record(pipelining: Pipelining) -> dict[str, Any]:
    """Operators in the order in which each device runs its own; "replicas" where there are copies."""
    record: dict[str, Any] = {
        "period": pipelining.period,
        "latency": pipelining.latency,
        "bound": pipelining.bound,
        "optimal": is_optimal(pipelining),
        "limit": pipelining.limit,
        "method": pipelining.method,
        "operators": [{"name": name, "device": device} for name, device in pipelining.placement.items()],
    }
    if len(pipelining.replicas) > 1:
        record["replicas"] = [dict(each) for each in pipelining.replicas]
    return record


def is_optimal(pipelining: Pipelining) -> bool:
    """Whether no plan has a shorter period."""
    return pipelining.period <= pipelining.bound * (1 + ROUNDING)
