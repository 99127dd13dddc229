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
        **_events(schedule),
    }


def pipelining_record(pipelining: Pipelining) -> dict[str, Any]:
    """Operators and transfers of the first input, as in `Pipelining`; "replicas" where there are copies."""
    record: dict[str, Any] = {
        "period": pipelining.period,
        "latency": pipelining.latency,
        "bound": pipelining.bound,
        "optimal": is_optimal(pipelining),
        "limit": pipelining.limit,
        "method": pipelining.method,
        **_events(pipelining),
    }
    if len(pipelining.replicas) > 1:
        record["replicas"] = [dict(each) for each in pipelining.replicas]
    return record


def _events(answer: Schedule | Pipelining) -> dict[str, Any]:
    """Operators and transfers, in the order of their starts."""
    return {
        "operators": [
            {"name": run.task, "device": run.device, "start": run.start, "end": run.end}
            for run in answer.runs
        ],
        "transfers": [
            {
                "operator": each.task,
                "from": each.source,
                "to": each.target,
                "start": each.start,
                "end": each.end,
            }
            for each in answer.transfers
        ],
    }


def is_optimal(answer: Schedule | Pipelining) -> bool:
    """Whether no answer has a shorter makespan, or, as `Pipelining.bound` has it, a shorter period."""
    if isinstance(answer, Schedule):
        return answer.optimal
    return answer.period <= answer.bound * (1 + ROUNDING)
