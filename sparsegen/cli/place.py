"""`sparsegen place`: where, and when, each operator of a scheduling problem runs best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sparsegen.cli.options import JsonFile


def place(
    problem: Annotated[
        Path,
        typer.Option(help="The problem: operators, devices and links, as JSON of schema 1.", metavar="FILE"),
    ],
    goal: Annotated[
        Literal["latency", "throughput"],
        typer.Option(help="The least time of one input, or the least period of a stream of them."),
    ] = "latency",
    json: JsonFile = None,
) -> None:
    """Place the operators of a problem on its devices: seconds and bytes in, a schedule out.

    It says of each plan whether it is proved to be the best one, and else how far from it it may be.
    """
    from json import dumps

    from rich.console import Console

    from sparsegen.files import check_writable, write_file
    from sparsegen.hetero.answer_json import answer_record
    from sparsegen.hetero.answer_table import print_answer
    from sparsegen.hetero.problem_json import read_problem
    from sparsegen.hetero.solver.solve import solve
    from sparsegen.progress import shown

    if json is not None:
        check_writable("--json", json)
    read = read_problem(problem)
    with shown(Console(stderr=True)) as listen:
        answer = solve(read, goal, listen=listen)
    print_answer(read, answer, Console())
    if json is not None:
        write_file(json, dumps(answer_record(answer), indent=1) + "\n")
