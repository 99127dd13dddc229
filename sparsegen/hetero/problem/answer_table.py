"""A problem's solution as a table for a terminal, and one line that sums it up."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from sparsegen.hetero.cells import Cell, longest_part
from sparsegen.hetero.problem.answer_json import is_optimal
from sparsegen.hetero.problem.problem import Pipelining, Problem, Schedule
from sparsegen.hetero.solver.solve import best_alone
from sparsegen.wording import milliseconds

METHODS = {
    "chain": "a dynamic program over the chain",
    "exact": "an exact search",
    "heft": "list scheduling (HEFT)",
    "greedy": "taking what ends first",
    "single": "trying each device alone",
    "blocks": "cutting the operators into blocks, one after the other",
    "beam": "a beam search",
    "local search": "local search",
    "stages": "cutting the operators into stages, one after the other",
    "packed": "giving the longest operators to the least loaded devices",
    "some placement": "looking for any placement that links allow",
}
"""How an answer was found, in words, by its method; its bound, not this, tells whether it is the best."""


def print_answer(problem: Problem, answer: Schedule | Pipelining, console: Console) -> None:
    """Operators with devices and times, a stream's for its first input; then the plan against one device."""
    stream = isinstance(answer, Pipelining)
    rows = [(run.task, run.device, _figure(run.start), _figure(run.end)) for run in answer.runs]
    caption = "of the first input; each other one follows a period later" if stream else None
    table = Table(caption=caption, caption_justify="left")
    for at, heading in enumerate(("operator", "device", "start ms", "end ms")):
        width = max(len(heading), *(longest_part(row[at]) for row in rows))
        table.add_column(heading, justify="right" if heading.endswith("ms") else "left", min_width=width)
    for row in rows:
        table.add_row(*map(Cell, row))
    console.print(table)
    console.print(_summary(problem, answer), markup=False, highlight=False, soft_wrap=True)


def _summary(problem: Problem, answer: Schedule | Pipelining) -> str:
    """One line: the goal's time beside the best single device's, what was proved, and who found it."""
    if isinstance(answer, Schedule):
        seconds, parts = answer.makespan, [f"makespan {_ms(answer.makespan)}"]
    else:
        seconds, parts = answer.period, [f"period {_ms(answer.period)}"]
    parts.append(_against(problem, answer, seconds))
    parts.append("no plan is faster" if is_optimal(answer) else f"no plan is below {_ms(answer.bound)}")
    if isinstance(answer, Pipelining):
        parts.append(f"latency {_ms(answer.latency)}, bound by {answer.limit}")
        parts += _copies(answer)
    parts.append(f"found by {METHODS.get(answer.method, answer.method)}")
    return "; ".join(parts)


def _against(problem: Problem, answer: Schedule | Pipelining, seconds: float) -> str:
    alone = best_alone(problem, "latency" if isinstance(answer, Schedule) else "throughput")
    if alone is None:
        return "no device runs all operators alone"
    device, time = alone
    return f"{device} alone: {_ms(time)}" + (f", {time / seconds:.2f} times as long" if seconds else "")


def _copies(answer: Pipelining) -> list[str]:
    """Who serves which inputs, where there are copies."""
    count = len(answer.replicas)
    told = []
    for number, replica in enumerate(answer.replicas[1:], 2):
        instead = ", ".join(f"{other} for {device}" for device, other in replica.items() if other != device)
        told.append(f"copy {number}: {instead}")
    return [f"{count} copies take inputs in turn ({'; '.join(told)})"] if told else []


def _figure(seconds: float) -> str:
    return milliseconds(1e3 * seconds)


def _ms(seconds: float) -> str:
    return f"{_figure(seconds)} ms"
