"""`sparsegen place --plan FILE`: a plan that was written down, checked, and run or simulated again."""

from __future__ import annotations

from pathlib import Path

from sparsegen.errors import OptionError
from sparsegen.hetero.options import PlaceOptions
from sparsegen.hetero.planned import PlannedModel
from sparsegen.hetero.plans.plan_json import load_plan
from sparsegen.hetero.run import SIMULATED, Ran, prepared, run
from sparsegen.hetero.running.simulator import simulate
from sparsegen.progress import Listener


def replay(path: Path, model: str | None, options: PlaceOptions, listen: Listener | None = None) -> Ran:
    """What running and simulating the plan of a file gives, as the options ask; nothing is searched.

    model: the name of what the plan is of, loaded and pruned by the options; a simulation takes none. The
    plan has to be of this model, on devices that are here.

    Raises OptionError where a run is asked for without a model, PlanError for what is no sound plan or not
    one of this model or machine, and SparsegenError for a model that cannot be loaded, and where running
    fails.
    """
    options.check()
    if options.run and model is None:
        raise OptionError(
            f"{path} is run with inputs of its model: give that MODEL, too, or simulate the plan"
        )
    plan = load_plan(path)
    measured = None
    if model is not None:
        graph, inputs = prepared(model, options, listen)
        with PlannedModel(plan, graph) as planned:
            measured = run(planned, inputs, options.run) if options.run else None
    simulated = simulate(plan, options.run or SIMULATED) if options.simulate else None
    return Ran(plan, measured, simulated)
