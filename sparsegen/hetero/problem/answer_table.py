"""A problem's solution as a table for a terminal, and one line that sums it up."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsegen.hetero.problem.answer_json import is_optimal
from sparsegen.hetero.problem.problem import Pipelining, Problem, Schedule
from sparsegen.hetero.solver.solve import best_alone
from sparsegen.wording import milliseconds


def print_answer(problem: Problem, answer: Schedule | Pipelining, console: Console) -> None:
    """Operators with their devices, and times for one input; then the plan against the best device alone."""
    if isinstance(answer, Schedule):
        headings: tuple[str, ...] = ("operator", "device", "start ms", "end ms")
        rows: list[tuple[str, ...]] = [
            (run.task, run.device, milliseconds(1e3 * run.start), milliseconds(1e3 * run.end))
            for run in answer.runs
        ]
        seconds, optimal, told = answer.makespan, answer.optimal, "makespan"
    else:
        headings = ("operator", "device")
        rows = list(answer.placement.items())
        seconds, optimal, told = answer.period, is_optimal(answer), "period"
    table = Table()
    for heading in headings:
        table.add_column(heading, justify="right" if heading.endswith("ms") else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    line = f"{told} {_ms(seconds)}, {_against(problem, seconds)}; "
    line += "no plan is faster" if optimal else f"no plan is below {_ms(answer.bound)}"
    if isinstance(answer, Pipelining):
        copies = f", {len(answer.replicas)} copies" if len(answer.replicas) > 1 else ""
        line += f"; latency {_ms(answer.latency)}, bound by {answer.limit}{copies}"
    console.print(f"{line} ({answer.method})", markup=False, highlight=False, soft_wrap=True)


def _against(problem: Problem, seconds: float) -> str:
    alone = best_alone(problem)
    if alone is None:
        return "no device runs all operators"
    device, time = alone
    gain = f"{time / seconds:.2f}x as fast as" if seconds else "against"
    return f"{gain} the best device alone ({device}, {_ms(time)})"


def _ms(seconds: float) -> str:
    return f"{milliseconds(1e3 * seconds)} ms"
