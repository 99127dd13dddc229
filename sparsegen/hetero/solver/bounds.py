"""Lower bounds of any schedule's makespan.

Critical path, with the best device for each step, transfers that cannot be avoided included:

    tail(u, a) = max over readers v of u of  min over devices d of
                 [d is not a] (delay(u, a, d) + invocation(v, d)) + seconds(v, d) + tail(v, d)
    end(v, d)  >= seconds(v, d) + max over u that v reads of  min over a of
                 end(u, a) + [a is not d] (delay(u, a, d) + invocation(v, d))
    makespan   >= max over v of  min over d of  end(v, d) + tail(v, d)

Load: tasks, even cut into pieces, fill the devices up to the makespan T at best (unrelated machines). By the
duality of linear programs, for any prices p(d) >= 0 that sum up to 1,

    T >= sum over v of  min over d of  p(d) seconds(v, d).

The best prices come from a subgradient ascent; whichever they are, the bound is valid. Of tasks that all
start at h or later, and are followed by q at least, the load counts on top of h + q.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsegen.hetero.solver.instance import NEVER, Instance

Array = NDArray[np.float64]
_STEPS = 200  # of the ascent
_CUTS = 8  # thresholds of heads, and of tails, that are tried with each other
ROUNDING = 1e-9
"""Times closer than this, relatively, are the same."""


def tails(instance: Instance) -> list[list[float]]:
    """tail[task][device]: what has to follow the end of a task there, at least."""
    found = [[0.0] * instance.devices for _ in range(instance.count)]
    for task in reversed(range(instance.count)):
        for device in range(instance.devices):
            found[task][device] = max(
                (_after(instance, task, device, reader, found[reader]) for reader in instance.readers[task]),
                default=0.0,
            )
    return found


def _after(instance: Instance, task: int, device: int, reader: int, tail: list[float]) -> float:
    """What a reader needs from the end of a task on, at least."""
    least, delay = NEVER, instance.delay[task][device]
    seconds, invocation = instance.seconds[reader], instance.invocation[reader]
    for target in instance.domain(reader):
        time = seconds[target] + tail[target]
        if target != device:
            time += delay[target] + invocation[target]
        least = min(least, time)
    return least


def heads(instance: Instance) -> list[list[float]]:
    """head[task][device]: the end of a task there, at the earliest; NEVER outside of its domain."""
    ends = [[NEVER] * instance.devices for _ in range(instance.count)]
    for task, reads in enumerate(instance.reads):
        for device in instance.domain(task):
            invocation = instance.invocation[task][device]
            ready = 0.0 if reads else invocation
            for read in reads:
                delay = instance.delay[read]
                ready = max(
                    ready,
                    min(
                        ends[read][source] + (delay[source][device] + invocation if source != device else 0.0)
                        for source in instance.domain(read)
                    ),
                )
            ends[task][device] = ready + instance.seconds[task][device]
    return ends


def least_work(instance: Instance) -> Array:
    """Seconds [tasks, devices] of each task where it may be; infinite elsewhere.

    A task that reads nothing has its invocation counted.
    """
    work = np.full((instance.count, instance.devices), NEVER)
    for task, reads in enumerate(instance.reads):
        for device in instance.domain(task):
            extra = 0.0 if reads else instance.invocation[task][device]
            work[task, device] = instance.seconds[task][device] + extra
    return work


def best_prices(work: Array, steps: int = _STEPS) -> tuple[Array, float]:
    """Prices of the devices that make the load's bound high, and that bound."""
    devices = work.shape[1]
    prices = np.full(devices, 1 / devices)
    best, value = prices, load(work, prices)
    rows, step = np.arange(len(work)), 0.5
    filled = np.where(np.isfinite(work), work, 0.0)
    for _ in range(steps if devices > 1 else 0):
        choice = _priced(work, prices).argmin(axis=1)
        loads = np.bincount(choice, weights=filled[rows, choice], minlength=devices)
        if not loads.any():
            break
        # Multiplicative: prices stay positive, and a loaded device gets dearer.
        prices = prices * np.exp(step * (loads / loads.max()))
        prices /= prices.sum()
        found = load(work, prices)
        if found > value:
            best, value = prices, found
        else:
            step *= 0.95
    return best, value


def load(work: Array, prices: Array) -> float:
    """The load's bound for given prices."""
    return float(_priced(work, prices).min(axis=1).sum()) if len(work) else 0.0


def _priced(work: Array, prices: Array) -> Array:
    """Work * prices, infinite where a task cannot be, whatever the price."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(work), work * prices, NEVER)


def path_bound(instance: Instance) -> float:
    """The critical path's bound."""
    return max(
        min(end + tail for end, tail in zip(ends, tail_of, strict=True))
        for ends, tail_of in zip(heads(instance), tails(instance), strict=True)
    )


def load_bound(instance: Instance) -> float:
    """The load's bound, with what comes before and after sets of tasks."""
    work = least_work(instance)
    with np.errstate(invalid="ignore"):
        first = np.nanmin(np.array(heads(instance)) - work, axis=1)  # starts; nan where a task cannot be
    last = np.array(
        [min(tail[device] for device in instance.domain(task)) for task, tail in enumerate(tails(instance))]
    )
    prices, best = best_prices(work)
    for before in _thresholds(first):
        for after in _thresholds(last):
            chosen = work[(first >= before) & (last >= after)]
            if len(chosen):
                best = max(best, before + after + load(chosen, prices))
    return best


def _thresholds(values: Array) -> Array:
    return np.unique(np.quantile(values, np.linspace(0, 1, _CUTS), method="lower"))


def lower_bound(instance: Instance) -> float:
    """The better of both bounds, a rounding error below it."""
    return float(max(path_bound(instance), load_bound(instance)) * (1 - 1e-14))
