"""Simulated times of networks as they are and rewritten, and means of the speed-ups."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sparsegen.devices import Machine
from sparsegen.graph import LayerGraph
from sparsegen.hetero.api import find_plan
from sparsegen.hetero.rewriting.report import layers_on_host
from sparsegen.rewriting.calibration import Inputs


class Speedups(NamedTuple):
    """Simulated: with all rewritten, and of what `place --rewrite` chooses."""

    rewritten: float
    placed: float


@dataclass(frozen=True)
class Simulated:
    """Milliseconds of one input by the best plans, by tables; layers that the host computes.

    before_ms: of the model as it is; rewritten_ms: of that with all rewritten that can be; both on the host
    and the device.
    """

    host_alone_ms: float
    before_ms: float
    rewritten_ms: float
    on_host_before: int
    on_host_rewritten: int

    @property
    def placed_ms(self) -> float:
        """By what `place --rewrite` chooses: the model stays as it is where rewriting gains nothing."""
        return min(self.before_ms, self.rewritten_ms)

    @property
    def speedups(self) -> Speedups | None:
        """Over the plan of the model as it is; None where one of the times is not finite."""
        if not (math.isfinite(self.before_ms) and math.isfinite(self.rewritten_ms)):
            return None
        return Speedups(self.before_ms / self.rewritten_ms, self.before_ms / self.placed_ms)

    def record(self) -> dict[str, float | int | str | None]:
        """As JSON holds it, which knows no infinity: None for a time that is not finite."""
        speedups = self.speedups
        return {
            **{name: value if math.isfinite(value) else None for name, value in asdict(self).items()},
            "placed_ms": self.placed_ms if math.isfinite(self.placed_ms) else None,
            "placed": "rewritten" if self.rewritten_ms < self.before_ms else "as it is",
            "speedup_rewritten": speedups and speedups.rewritten,
            "speedup_placed": speedups and speedups.placed,
            **({} if speedups else {"note": "no finite time of a plan: in no mean"}),
        }


def simulated(graph: LayerGraph, rewritten: LayerGraph, machine: Machine, inputs: Inputs) -> Simulated:
    """Times of the best plans of a graph and of what it was rewritten to."""
    host = machine.device(machine.host)
    alone, before, after = (
        find_plan(each, on, inputs).plan
        for each, on in (
            (graph, Machine((host,), (), host.name)),
            (graph, machine),
            (rewritten, machine),
        )
    )
    return Simulated(
        1e3 * alone.makespan,
        1e3 * before.makespan,
        1e3 * after.makespan,
        layers_on_host(before),
        layers_on_host(after),
    )


def means(found: Mapping[str, Simulated]) -> dict[str, Any]:
    """Means of the simulated speed-ups of networks, of how many they are, and what is left out.

    `rewritten`: with all rewritten. `placed`: of what `place --rewrite` chooses.
    """
    known = [each.speedups for each in found.values() if each.speedups is not None]
    told: dict[str, Any] = {
        "networks": len(known),
        "left_out": [name for name, each in found.items() if each.speedups is None],
    }
    if known:
        told["rewritten"] = _mean([each.rewritten for each in known])
        told["placed"] = _mean([each.placed for each in known])
    return told


def _mean(gains: Sequence[float]) -> dict[str, float]:
    return {"geometric": statistics.geometric_mean(gains), "arithmetic": statistics.mean(gains)}
