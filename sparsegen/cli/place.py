"""`sparsegen place`: where, and when, each operator of a model, or of a scheduling problem, runs best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsegen.cli.options import (
    ApproximateName,
    Batch,
    InputShape,
    InputType,
    JsonFile,
    StructureName,
    parse_approximate,
    parse_inputs,
)
from sparsegen.errors import OptionError
from sparsegen.hetero.options import GoalName, GranularityName, PlaceOptions


def place(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A name of pytorchcv's (resnet18), package.module:factory, or a .pt2 file.",
            metavar="MODEL",
            show_default=False,
        ),
    ] = None,
    problem: Annotated[
        Path | None,
        typer.Option(
            help="In place of a MODEL, a problem: operators, devices and links, as JSON of schema 1.",
            metavar="FILE",
        ),
    ] = None,
    devices: Annotated[
        Path | None,
        typer.Option(help="Devices and links, as TOML.", metavar="FILE", show_default="this machine"),
    ] = None,
    goal: Annotated[
        GoalName, typer.Option(help="The least time of one input, or the least period of a stream of them.")
    ] = PlaceOptions.goal,
    granularity: Annotated[
        GranularityName, typer.Option(help="What is placed: each layer, each block, or the model as one.")
    ] = PlaceOptions.granularity,
    run: Annotated[int, typer.Option(help="Run so many inputs by the plan.", metavar="N")] = PlaceOptions.run,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Simulate the inputs, by what the plan predicts.")
    ] = PlaceOptions.simulate,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="Measure what operators cost where nobody has, or predict it from what was measured.",
        ),
    ] = PlaceOptions.measure,
    rewrite: Annotated[
        bool, typer.Option("--rewrite", help="Replace what the accelerators lack first, where that gains.")
    ] = PlaceOptions.rewrite,
    max_error: Annotated[
        float | None,
        typer.Option(help="Of --rewrite: what each result may be off by.", show_default="0.001"),
    ] = PlaceOptions.max_error,
    calibration: Annotated[
        Path | None, typer.Option(help="Of --rewrite: inputs, as .npy or .npz.", metavar="FILE")
    ] = PlaceOptions.calibration,
    sparsity: Annotated[float, typer.Option(help="Share of weights to prune first.")] = PlaceOptions.sparsity,
    structure: StructureName = PlaceOptions.structure,
    batch: Batch = PlaceOptions.batch,
    input_shape: InputShape = None,
    dtype: InputType = None,
    approximate: ApproximateName = None,
    json: JsonFile = None,
    png: Annotated[
        Path | None, typer.Option(help="Draw what runs when to this file.", metavar="FILE")
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="Write what runs when as a trace for Perfetto or Chrome.", metavar="FILE"),
    ] = None,
    export_operators: Annotated[
        Path | None,
        typer.Option(help="Write the operators and their costs for other schedulers.", metavar="FILE"),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(help="Tell what an operator costs wherever it runs.", metavar="OPERATOR"),
    ] = None,
) -> None:
    """Place the operators of MODEL on devices: plan, and if asked run and simulate, its inputs.

    With `--problem`, the operators are those of a file, in seconds and bytes: a schedule comes out.
    """
    from sparsegen.files import check_writable

    outputs = {"--json": json, "--png": png, "--trace": trace, "--export-operators": export_operators}
    for option, path in outputs.items():
        if path is not None:
            check_writable(option, path)
    if (model is None) == (problem is None):
        raise OptionError("give a MODEL, or --problem FILE, one of the two")
    if problem is not None:
        others = (png, trace, export_operators, explain, devices, run, simulate, approximate, rewrite)
        if any(others):
            raise OptionError("--problem goes with --goal and --json alone: the file has all else")
        _solve(problem, goal, json)
        return
    assert model is not None
    options = PlaceOptions(
        batch=batch,
        **parse_inputs(input_shape, dtype),
        structure=structure,
        sparsity=sparsity,
        devices=devices,
        goal=goal,
        granularity=granularity,
        run=run,
        simulate=simulate,
        measure=measure,
        approximate=parse_approximate(approximate),
        rewrite=rewrite,
        max_error=max_error,
        calibration=calibration,
    )
    _place(model, options, outputs, explain)


def _place(model: str, options: PlaceOptions, outputs: dict[str, Path | None], explain: str | None) -> None:
    from rich.console import Console

    from sparsegen.files import write_file
    from sparsegen.hetero import report
    from sparsegen.hetero.operators.export import to_json
    from sparsegen.hetero.plans.gantt import save_gantt
    from sparsegen.hetero.plans.plan_json import save_plan
    from sparsegen.hetero.plans.trace import save_trace
    from sparsegen.hetero.run import place as run_place
    from sparsegen.hetero.running.simulator import simulate
    from sparsegen.progress import shown

    with shown(Console(stderr=True)) as listen:
        placed = run_place(model, options, listen)
        if explain is not None:
            told = report.explain(placed.planned, explain)
        report.print_plan(placed.plan, placed.measured, placed.simulated)
        if placed.gain is not None:
            Console().print(placed.gain.told(), highlight=False, soft_wrap=True)
        if explain is not None:
            Console().print(told)
        plan = placed.plan
        timeline = placed.measured or placed.simulated or simulate(plan)
        title = f"{model}, {'measured' if placed.measured else 'simulated'}"
        if (path := outputs["--json"]) is not None:
            save_plan(plan, path)
        if (path := outputs["--png"]) is not None:
            save_gantt(plan, timeline, path, title)
        if (path := outputs["--trace"]) is not None:
            save_trace(plan, timeline, path, title)
        if (path := outputs["--export-operators"]) is not None:
            write_file(path, to_json(placed.export(options)))


def _solve(problem: Path, goal: GoalName, json: Path | None) -> None:
    """Solve a problem of a file, and tell of the answer."""
    from json import dumps

    from rich.console import Console

    from sparsegen.files import write_file
    from sparsegen.hetero.problem.answer_json import answer_record
    from sparsegen.hetero.problem.answer_table import print_answer
    from sparsegen.hetero.problem.problem_json import read_problem
    from sparsegen.hetero.solver.solve import solve
    from sparsegen.progress import shown

    read = read_problem(problem)
    with shown(Console(stderr=True)) as listen:
        answer = solve(read, goal, listen=listen)
    print_answer(read, answer, Console())
    if json is not None:
        write_file(json, dumps(answer_record(answer), indent=1) + "\n")
