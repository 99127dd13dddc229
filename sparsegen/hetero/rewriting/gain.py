"""What rewriting gains in a plan: the model for each accelerator of a machine, beside the model as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sparsegen.devices import Device, Machine
from sparsegen.errors import DeviceError, RewritingError
from sparsegen.graph import LayerGraph
from sparsegen.hetero.plans.streams import Planned
from sparsegen.hetero.rewriting.options import RewriteOptions
from sparsegen.hetero.rewriting.run import check_relu, rewritten_for
from sparsegen.progress import Listener
from sparsegen.rewriting.accuracy import Accuracy
from sparsegen.rewriting.calibration import load_calibration
from sparsegen.wording import counted


@dataclass(frozen=True)
class Gain:
    """The best plan's seconds before and after rewriting for a device: of one input, or a stream's period.

    before: infinite where no device runs some of the model as it is. replaced, left: operators that it
    lacks and that were, or were not, replaced; ranged: of those replaced, how many hold on the ranges of
    calibration alone. accuracy: of the results. after: of the rewritten model, also where that is no faster,
    and so is not taken.
    """

    device: str
    before: float
    after: float
    replaced: int
    left: int
    ranged: int
    accuracy: Accuracy

    @property
    def is_taken(self) -> bool:
        """Whether the rewritten model is predicted to be faster: otherwise the model stays as it is."""
        return self.after < self.before

    def told(self) -> str:
        """One line."""
        counts = f"{counted(self.replaced, 'operator')} replaced, {self.left} left"
        if not self.is_taken:
            return (
                f"not rewritten, as nothing is gained: {1e3 * self.before:.4g} ms as it is, "
                f"{1e3 * self.after:.4g} ms rewritten for {self.device} ({counts})"
            )
        ranges = f"; {self.ranged} hold on calibration's ranges alone" if self.ranged else ""
        if math.isinf(self.before):
            seconds = f"{1e3 * self.after:.4g} ms, and as it is no device runs some of it"
        else:
            seconds = f"{1e3 * self.before:.4g} ms before, {1e3 * self.after:.4g} ms after, "
            seconds += f"{self.before / self.after:.2f}x"
        return (
            f"rewritten for {self.device}: {seconds}; {counts}, results off by at most "
            f"{self.accuracy.error:.3g}{ranges}"
        )


def best_rewritten(
    graph: LayerGraph,
    machine: Machine,
    inputs: tuple[Any, ...],
    options: RewriteOptions,
    plan: Callable[[LayerGraph], Planned],
    listen: Listener | None = None,
    *,
    check: Callable[[Sequence[LayerGraph]], object] | None = None,
) -> tuple[LayerGraph, Planned, Gain]:
    """The graph and plan of the fewest seconds: rewritten for one of the machine's accelerators, or as it is.

    Where the model as it is has the better plan, that is kept, and the gain tells of the best rewriting.
    check: called with all graphs that may be chosen, before any is planned. Raises RewritingError where no
    device but the host is a table, or one of them has no ReLU; DeviceError where no device runs some operator
    after rewriting, too.
    """
    calls = load_calibration(options.calibration, graph) if options.calibration is not None else []
    accelerators = _accelerators(machine)
    if not accelerators:
        raise RewritingError(
            "there is nothing to rewrite for: no device but the host is a table; name some with --devices"
        )
    for device in accelerators:
        assert device.profile is not None
        check_relu(f"device {device.name!r}", device.profile)
    made = [rewritten_for(device, graph, calls, options, inputs, listen) for device in accelerators]
    if check is not None:
        check([graph, *(rewritten.graph for rewritten, _ in made)])
    before, _ = _planned(graph, plan)
    refusals: list[DeviceError | None] = []
    found: list[tuple[LayerGraph, Planned, Gain]] = []
    for device, (rewritten, accuracy) in zip(accelerators, made, strict=True):
        after, refusal = _planned(rewritten.graph, plan)
        refusals.append(refusal)
        left = len(rewritten.unsupported)
        count = len(rewritten.replaced) - left
        ranged = len(rewritten.ranged)
        gain = Gain(device.name, _seconds(before), _seconds(after), count, left, ranged, accuracy)
        found += [] if after is None else [(rewritten.graph, after, gain)]
    for refusal in refusals if not found else ():
        if refusal is not None:
            raise refusal
    best = min(found, key=lambda each: each[2].after)
    return best if before is None or best[2].is_taken else (graph, before, best[2])


def _planned(
    graph: LayerGraph, plan: Callable[[LayerGraph], Planned]
) -> tuple[Planned | None, DeviceError | None]:
    """The plan of a graph, or why no device runs some of it."""
    try:
        return plan(graph), None
    except DeviceError as error:
        return None, error


def _accelerators(machine: Machine) -> list[Device]:
    """One device of each table, without the host."""
    others = (each for each in machine.devices if each.profile is not None and each.name != machine.host)
    return list({str(each.settings): each for each in others}.values())


def _seconds(planned: Planned | None) -> float:
    if planned is None:
        return math.inf
    return planned.plan.period if planned.plan.goal == "throughput" else planned.plan.makespan
