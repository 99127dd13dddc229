"""A plan told: its table, one line that sums it up, and one of the plans that were not taken."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from sparsegen.devices import Machine
from sparsegen.hetero.plans.events import Timeline
from sparsegen.hetero.plans.plan import PASSED_ON, Plan
from sparsegen.hetero.plans.table import plan_table
from sparsegen.hetero.stages.table_plan import leaves_room
from sparsegen.wording import milliseconds

_FORMS = {
    "sequential": "all on {device}, one operator after the other",
    "placed": "operators on several devices",
    "pipelined": "a pipeline over several devices",
    "copies": "a copy of the model on each of several devices",
    "stages": "groups of operators at once on shares of the cores",
}


_SEARCHED = ("heft", "without ", "stages ", "greedy ")
"""How the names of plans begin that are no single device's and no single program's."""

_EXECUTOR_MS = 0.1
"""Of a call, a queue and a thread that wakes up: 0.03 to 0.1, by `bench.simulated`."""

_TOLD = {"heft": "list scheduling (HEFT)"}
"""Names of plans in words."""


def print_plan(plan: Plan, measured: Timeline | None, simulated: Timeline | None) -> None:
    """Print a plan's table, and what it comes to; `measured` is of a run, `simulated` of a simulated one."""
    console = Console()
    console.print(plan_table(plan, measured))
    lines = [summary(plan), rejected(plan)]
    for what, timeline in (("measured", measured), ("simulated, not measured", simulated)):
        lines.append("" if timeline is None else f"{what}: {_figures(timeline)}")
    lines.append("" if measured is None else note_on_times(plan))
    for line in filter(None, lines):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def summary(plan: Plan) -> str:
    """One line: the goal's seconds, beside the best single device's, and what was proved of it."""
    stream = plan.goal == "throughput"
    seconds, word = (plan.period, "period") if stream else (plan.makespan, "makespan")
    line = f"{word} {_ms(seconds)} ms {_how_known(plan)}, {_form(plan)}"
    single = _single(plan)
    if single is not None:
        line += f"; {single}: {_beside(plan, single)}"
    elif _several_devices(plan):
        line += f"; no {'other' if len(plan.computing) == 1 else 'single'} device runs all of it alone"
    return f"{line}{_proved(plan)}"


def _proved(plan: Plan) -> str:
    """What no placement does, or no stages on a table; nothing where there was no choice of devices."""
    if plan.bound <= 0 or not (_several_devices(plan) or _has_stages(plan) or len(plan.replicas) > 1):
        return ""
    of = "stages" if _has_stages(plan) else "placement"
    if plan.optimal:
        return f"; no {of} of these operators is faster, by these times"
    return f"; no {of} takes less than {_ms(plan.bound)} ms, by these times"


def _several_devices(plan: Plan) -> bool:
    """Whether operators could be on one device or another."""
    others = plan.alternatives or {}
    return len(plan.computing) > 1 or any(name == "heft" or name.endswith(" alone") for name in others)


def _has_stages(plan: Plan) -> bool:
    """Whether stages by a table were looked for, so that the bound is one of these."""
    return any(name.startswith("greedy ") for name in plan.alternatives or {})


def rejected(plan: Plan) -> str:
    """One line: figures of the plans that were not taken, but for the summary's, or why; empty for none."""
    others, reasons = _rivals(plan), plan.reasons or {}
    names = sorted((name for name in others if name != _single(plan)), key=lambda name: others[name])
    told = []
    for name in [*names, *(name for name in reasons if name not in others)]:
        parts = [_beside(plan, name) if name in others else "", reasons.get(name, "")]
        told.append(f"{_TOLD.get(name, name)}: {', '.join(filter(None, parts))}")
    return f"not taken: {'; '.join(told)}" if told else ""


def picture_title(plan: Plan, model: str, *, measured: bool) -> str:
    """What a picture and a trace are called: the model, how times are known, and who was emulated."""
    if not measured:
        return f"{model}, simulated"
    emulated = f"; {', '.join(plan.emulated)} emulated" if plan.emulated else ""
    return f"{model}, measured{emulated}"


def note_on_times(plan: Plan) -> str:
    """One line: what measured times of a plan have in them that predicted ones have not."""
    if plan.form == "stages" and not _on_table(plan):
        return ""
    note = f"predictions leave out what the executor itself takes: up to about {_EXECUTOR_MS:g} ms a row"
    if plan.emulated:
        note += f"; {', '.join(plan.emulated)}: emulated here, never faster than the table, and slower "
        note += "where this machine computes for longer"
    return note


def note_on_host(machine: Machine) -> str:
    """One line, where inputs and results are taken to lie on a table's device, whose host nobody named."""
    host = machine.device(machine.host)
    if host.profile is None:
        return ""
    starts = host.profile.invocation_overhead.value > 0
    if host.link is None and not starts and len(machine.devices) > 1:
        return ""  # a host as any other
    left_out = ["no transfer"] + (["no start"] if starts else [])
    why = "the file says that it is the host" if host.link else "its table has no [link] to a host"
    return (
        f"inputs and results are assumed to lie on {host.name}, as {why}: {' and '.join(left_out)} is "
        "counted for them"
    )


def note_on_stages(plan: Plan, machine: Machine) -> str:
    """One line, where the table of a device in use says that operators leave room on it: what that gives."""
    used = plan.computing
    roomy = [each.name for each in machine.devices if each.name in used and leaves_room(each)]
    if not roomy:
        return ""
    if len(machine.computing) > 1 or plan.goal == "throughput":
        return (
            f"{', '.join(roomy)} runs one operator at a time in this plan, though its table says what part "
            "each fills: stages of operators at once are planned for the goal latency, where there is no "
            "other device"
        )
    (device,) = roomy
    if plan.form != "stages":
        return f"{device} runs one operator at a time: by its table, nothing is gained by several at once"
    alone = sum(each.seconds for each in plan.operators)
    fill = sum(each.seconds * each.utilisation for each in plan.operators) / alone
    passed_on = {each.name for each in plan.operators if each.implementation == PASSED_ON}
    stages = [each for each in plan.stages if not passed_on.issuperset(each.groups[0].operators)]
    several = [len(stage.groups) for stage in stages if len(stage.groups) > 1]
    most = (plan.alternatives or {}).get(f"sequential, {device}", alone) / plan.bound
    return (
        f"stages on {device} are simulated by its table, not measured: operators fill {fill:.1%} of it on "
        f"average, so {len(several)} of {len(stages)} stages run several at once, up to {max(several)}; no "
        f"stages gain more than {most:.2f}x over one after the other"
    )


def _rivals(plan: Plan) -> dict[str, float]:
    """Seconds of the alternatives, without the device alone that the plan itself is."""
    used = plan.computing
    itself = {f"{name} alone" for name in used} if len(used) == len(plan.replicas) == 1 else set()
    return {name: value for name, value in (plan.alternatives or {}).items() if name not in itself}


def _form(plan: Plan) -> str:
    if plan.form == "stages" and _on_table(plan):
        return "stages of operators at once on one device"
    if plan.form in ("placed", "pipelined") and len(plan.computing) == 1:
        hosts = dict.fromkeys(each.device for each in plan.operators if each.implementation == PASSED_ON)
        return f"all on {plan.computing[0]}, inputs and results on {', '.join(hosts)}"
    return _FORMS[plan.form].format(device=plan.operators[0].device)


def _how_known(plan: Plan) -> str:
    return "by the table" if plan.form == "stages" and _on_table(plan) else "predicted"


def _on_table(plan: Plan) -> bool:
    kinds = {each.name: each.kind for each in plan.devices}
    return all(kinds[name] == "profile" for name in plan.computing)


def _single(plan: Plan) -> str | None:
    """The best rival that is one device alone; of one device, the best that no search has found."""
    rivals = _rivals(plan)
    if _several_devices(plan):
        names = [name for name in rivals if name.endswith(" alone")]
    else:
        names = [name for name in rivals if not name.startswith(_SEARCHED)]
    return min(names, key=lambda name: rivals[name], default=None)


def _beside(plan: Plan, name: str) -> str:
    seconds = plan.period if plan.goal == "throughput" else plan.makespan
    other = _rivals(plan)[name]
    return f"{_ms(other)} ms" + (f", {other / seconds:.2f} times as long" if seconds else "")


def _figures(timeline: Timeline) -> str:
    figures: list[Any] = [f"first result after {_ms(timeline.makespan)} ms"]
    if len(timeline.finished) > 1:
        figures.append(f"then one each {_ms(timeline.period)} ms")
    return ", ".join(figures)


def _ms(seconds: float) -> str:
    return milliseconds(1e3 * seconds)
