"""A rewritten model told: a table of what was replaced by what, lines that sum it up, and JSON."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsegen.hetero.plans.plan import PASSED_ON, Plan
from sparsegen.hetero.rewriting.run import RewrittenModel
from sparsegen.rewriting.calibration import MARGIN
from sparsegen.rewriting.draft import Approximation
from sparsegen.rewriting.rewrite import Replaced, Rewritten
from sparsegen.rewriting.site import Interval
from sparsegen.wording import counted, milliseconds

SCHEMA = 1
_AS_FAST = 0.995
_MOST_RANGES = 24
"""Lines of sites that hold on a range alone."""


def print_rewritten(model: RewrittenModel, console: Console) -> None:
    """Print what was replaced, by what, and what that does to results and time."""
    console.print(table(model))
    for line in lines(model):
        console.print(line, highlight=False, soft_wrap=True)


def table(model: RewrittenModel) -> Table:
    """A row for each kind of operator that was replaced in one way: how many, by what, how exactly, where."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("operator", "sites", "", "by", "error", "how known", "holds for"):
        shown.add_column(heading, justify="right" if heading in ("sites", "error") else "left")
    kinds = defaultdict[tuple[str, ...], list[Replaced]](list)
    for each in model.rewritten.replaced:
        kinds[_row(each)].append(each)
    for (operator, word, by, error, known), sites in kinds.items():
        shown.add_row(*map(Text, (operator, str(len(sites)), word, by, error, known, _holds_for(sites))))
    return shown


def _holds_for(sites: Sequence[Replaced]) -> str:
    """What the inputs of sites may be: anything, or what lies in a range."""
    if not sites[0].rules:
        return ""
    ranges = [each.ranges for each in sites if each.ranges]
    if not ranges:
        return "all inputs"
    if len(sites) == 1:
        return _ranges(ranges[0])
    alone = f"calibration's range{'s' if len(ranges) > 1 else ''}"
    return alone if len(ranges) == len(sites) else f"{alone} at {len(ranges)} of {len(sites)}"


def _ranges(ranges: Mapping[str, Interval]) -> str:
    return " and ".join(f"[{low:.3g}, {high:.3g}]" for low, high in dict.fromkeys(ranges.values()))


def _row(each: Replaced) -> tuple[str, str, str, str, str]:
    if not each.rules:
        return each.operator, each.word, each.reason, "", ""
    worst = max(each.approximations, key=lambda found: found.error, default=None)
    if worst is None:
        return each.operator, each.word, "; ".join(dict.fromkeys(each.rules)), "exact", ""
    forms = dict.fromkeys(f"{found.function}: {found.form}" for found in each.approximations)
    by = "; ".join([*dict.fromkeys(each.rules), *forms])
    return each.operator, each.word, by, f"{each.error:.2g}", worst.shown.partition(":")[0]


def lines(model: RewrittenModel) -> Iterator[str]:
    """What stays on the host and why; results beside the model's own; predicted time; where that holds."""
    for each in model.rewritten.unsupported:
        yield f"{each.layer}: {each.operator} stays on the host, as {each.reason}"
        for tried in each.tried:
            yield f"  {tried.rule}: {tried.reason or 'serves'}"
        if not each.tried:
            yield "  there is no rule for it"
    accuracy, on = model.accuracy, "calibration inputs" if model.calibrated else "random inputs"
    share = accuracy.error / accuracy.largest if accuracy.largest else 0.0
    agreement = (
        f", {accuracy.agreement:.1%} of {accuracy.rows} largest at the same place" if accuracy.rows else ""
    )
    yield (
        f"results off by at most {accuracy.error:.3g} on {on}, {share:.2g} of the largest{agreement}"
        + ("" if model.calibrated else "; --calibration FILE compares on real ones")
    )
    before, after = layers_on_host(model.before), layers_on_host(model.after)
    yield (
        f"predicted by tables: {_ms(model.before)} ms before, {_ms(model.after)} ms after, {_gained(model)}; "
        f"layers on the host: {before} before, {after} after"
    )
    yield from _on_ranges(model.rewritten)


def _gained(model: RewrittenModel) -> str:
    times = model.before.makespan / model.after.makespan
    if times >= _AS_FAST:
        return f"{times:.2f}x"
    return f"{times:.2f}x, SLOWER than the model as it is (`sparsegen place --rewrite` keeps the faster one)"


def _on_ranges(rewritten: Rewritten) -> Iterator[str]:
    """Which sites hold on which range, and what that means."""
    ranged, count = rewritten.ranged, len(rewritten.replaced) - len(rewritten.unsupported)
    if not count:
        return
    if not ranged:
        yield "what was replaced holds for all inputs"
        return
    for each in ranged[:_MOST_RANGES]:
        values = "its input is" if len(each.ranges) == 1 else "its inputs are"
        yield f"{each.layer}: {each.operator} holds where {values} in {_ranges(each.ranges)}"
    if len(ranged) > _MOST_RANGES:
        yield f"... and {len(ranged) - _MOST_RANGES} more, all of which --json FILE has"
    yield (
        f"{len(ranged)} of {counted(count, 'replaced operator')}: ON CALIBRATION'S RANGES ALONE, with "
        f"{MARGIN:.0%} more at each end; beyond them no error is bounded. Calibrate with all that the model "
        "will see, or leave --calibration out for what holds for all inputs"
    )


def not_drawn(left: Sequence[Approximation], rewritten: Rewritten) -> str:
    """What a picture does not show, and why; nothing where it shows all that there is."""
    if not any(each.approximations for each in rewritten.replaced):
        return "nothing was approximated, so there is nothing to draw, and no picture is written"
    forms = dict.fromkeys(f"{each.function} by {each.form}" for each in left)
    if not forms:
        return ""
    told = f"not drawn, as they are no functions of one value: {'; '.join(forms)}"
    alone = len(left) == sum(len(each.approximations) for each in rewritten.replaced)
    return f"{told}; no picture is written" if alone else told


def record(model: RewrittenModel) -> dict[str, Any]:
    """All of it as JSON holds it; see docs/rewriting.md."""
    return {
        "schema": SCHEMA,
        "model": model.name,
        "device": model.device.settings.get("table", model.device.name),
        "replaced": [_replaced(each) for each in model.rewritten.replaced],
        "accuracy": {
            "inputs": "calibration" if model.calibrated else "random",
            "max_error": model.accuracy.error,
            "largest_result": model.accuracy.largest,
            "argmax_agreement": model.accuracy.agreement,
            "rows": model.accuracy.rows,
        },
        "predicted_seconds": {"before": model.before.makespan, "after": model.after.makespan},
        "layers_on_host": {"before": layers_on_host(model.before), "after": layers_on_host(model.after)},
    }


def _replaced(each: Replaced) -> dict[str, Any]:
    return {
        "layer": each.layer,
        "operator": each.operator,
        "reason": each.reason,
        "word": each.word,
        "rules": list(each.rules),
        "error": _finite(each.error),
        "ranges": {name: [_finite(end) for end in interval] for name, interval in each.ranges.items()},
        "approximations": [
            {
                "function": found.function,
                "form": found.form,
                "error": found.error,
                "shown": found.shown,
                "interval": None if found.interval is None else [_finite(end) for end in found.interval],
                "knots": list(found.knots),
                "slopes": list(found.slopes),
            }
            for found in each.approximations
        ],
        "tried": [
            {"rule": tried.rule, "seconds": _finite(tried.seconds), "reason": tried.reason}
            for tried in each.tried
        ],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def layers_on_host(plan: Plan) -> int:
    """Layers that the host computes; views cost nothing, and are where what they look at is."""
    there = (each for each in plan.operators if each.device == "host" and each.implementation != PASSED_ON)
    return sum(len(each.layers) for each in there if each.seconds)


def _ms(plan: Plan) -> str:
    return milliseconds(1e3 * plan.makespan)
