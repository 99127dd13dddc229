"""`sparsegen place`: where, and when, each operator of a model, or of a scheduling problem, runs best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsegen.cli.options import (
    PICTURE,
    ApproximateName,
    InputShape,
    InputType,
    JsonFile,
    SingleBatch,
    StructureName,
    parse_approximate,
    parse_inputs,
    refuse_others,
)
from sparsegen.errors import OptionError
from sparsegen.hetero.options import GoalName, GranularityName, PlaceOptions
from sparsegen.hetero.rewriting.options import MAX_ERROR

if TYPE_CHECKING:
    from sparsegen.hetero.plans.events import Timeline
    from sparsegen.hetero.plans.plan import Plan
    from sparsegen.hetero.run import Ran

_WITH_PLAN = (
    *("plan", "model", "run", "simulate", "json", "png", "trace"),
    *("sparsity", "structure", "batch", "input_shape", "dtype", "approximate"),
)
"""Parameters that a plan that was written down leaves open: what is done with it, and what its model is."""
_WITH_PROBLEM = ("goal", "json", "png", "trace")
"""Parameters that a problem leaves open."""


def place(
    context: typer.Context,
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
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Take this plan, which --json wrote: with MODEL for --run, with or without for --simulate.",
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
        typer.Option(help="Of --rewrite: what each result may be off by.", show_default=f"{MAX_ERROR:g}"),
    ] = PlaceOptions.max_error,
    calibration: Annotated[
        Path | None, typer.Option(help="Of --rewrite: inputs, as .npy or .npz.", metavar="FILE")
    ] = PlaceOptions.calibration,
    sparsity: Annotated[float, typer.Option(help="Share of weights to prune first.")] = PlaceOptions.sparsity,
    structure: StructureName = PlaceOptions.structure,
    batch: SingleBatch = PlaceOptions.batch,
    input_shape: InputShape = None,
    dtype: InputType = None,
    approximate: ApproximateName = None,
    json: JsonFile = None,
    png: Annotated[
        Path | None, typer.Option(help=f"Draw what runs when to this file, {PICTURE}.", metavar="FILE")
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

    With `--plan`, a plan that --json wrote is run or simulated again, and nothing is searched. With
    `--problem`, the operators are those of a file, in seconds and bytes: a schedule comes out. For a stream,
    optimal means: among plans that place all inputs alike, or in equal copies.
    """
    from sparsegen.outputs import check_outputs

    check_outputs(
        {"--json": json, "--trace": trace, "--export-operators": export_operators},
        {"--png": png},
        reads={
            "MODEL": model,
            "--plan": plan,
            "--problem": problem,
            "--devices": devices,
            "--calibration": calibration,
        },
    )
    if problem is not None:
        refuse_others(context, "--problem", ("problem", *_WITH_PROBLEM), "the file has all else")
        _solve(problem, goal, json, png, trace)
        return
    if plan is not None:
        refuse_others(context, "--plan", _WITH_PLAN, "the plan has decided all else")
    elif model is None:
        raise OptionError("give a MODEL, or --problem FILE, one of the two; or --plan FILE")
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
        explain=explain,
        export=export_operators is not None,
    )
    if plan is not None:
        _replay(plan, model, options, json, png, trace)
        return
    assert model is not None
    _place(model, options, json, png, trace, export_operators)


def _place(
    model: str,
    options: PlaceOptions,
    json: Path | None,
    png: Path | None,
    trace: Path | None,
    export_operators: Path | None,
) -> None:
    """Plan and run a model, and tell of it. An operator that cannot be explained is told of last."""
    from rich.console import Console

    from sparsegen.files import write_file
    from sparsegen.hetero import report
    from sparsegen.hetero.operators.export import to_json
    from sparsegen.hetero.run import place as run_place
    from sparsegen.progress import shown

    with shown(Console(stderr=True)) as listen:
        placed = run_place(model, options, listen)
        _tell(placed, model, json, png, trace)
        gain = "" if placed.gain is None else placed.gain.told()
        machine = placed.planned.machine
        notes = report.note_on_host(machine), report.note_on_stages(placed.plan, machine), gain
        for line in filter(None, notes):
            Console().print(line, highlight=False, markup=False, soft_wrap=True)
        if export_operators is not None:
            write_file(export_operators, to_json(placed.export(options)))
        if options.explain is not None:
            line, costs = placed.explain(options)
            Console().print(line, highlight=False, markup=False, soft_wrap=True)
            Console().print(costs)


def _replay(
    plan: Path,
    model: str | None,
    options: PlaceOptions,
    json: Path | None,
    png: Path | None,
    trace: Path | None,
) -> None:
    """Run and simulate a plan of a file, and tell of it."""
    from rich.console import Console

    from sparsegen.hetero.replay import replay
    from sparsegen.progress import shown

    with shown(Console(stderr=True)) as listen:
        ran = replay(plan, model, options, listen)
        _tell(ran, model or ran.plan.model, json, png, trace)


def _tell(ran: Ran, model: str, json: Path | None, png: Path | None, trace: Path | None) -> None:
    """Print a plan and what ran, and write the files that are asked for."""
    from sparsegen.hetero import report
    from sparsegen.hetero.plans.plan_json import save_plan
    from sparsegen.hetero.running.simulator import simulate

    report.print_plan(ran.plan, ran.measured, ran.simulated)
    timeline = ran.measured or ran.simulated or simulate(ran.plan)
    title = report.picture_title(ran.plan, model, measured=ran.measured is not None)
    if json is not None:
        save_plan(ran.written, json)
    _draw(ran.plan, timeline, title, png, trace)


def _solve(problem: Path, goal: GoalName, json: Path | None, png: Path | None, trace: Path | None) -> None:
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
    if png is None and trace is None:
        return
    from sparsegen.hetero.problem.answer_picture import plan_of_answer, timeline_of_answer

    title = f"{problem.name}, as planned"
    _draw(plan_of_answer(read, answer, problem.name), timeline_of_answer(answer), title, png, trace)


def _draw(plan: Plan, timeline: Timeline, title: str, png: Path | None, trace: Path | None) -> None:
    """Write what happens when as a picture and as a trace, where they are asked for."""
    from sparsegen.hetero.plans.gantt import draw
    from sparsegen.hetero.plans.trace import save_trace
    from sparsegen.outputs import save_picture

    if png is not None:
        save_picture(draw(plan, timeline, title), png)
    if trace is not None:
        save_trace(plan, timeline, trace, title)
