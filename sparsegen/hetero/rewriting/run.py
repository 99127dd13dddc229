"""`sparsegen rewrite` from end to end: loaded, rewritten for a device, compared, planned before and after."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparsegen.devices import Device, Estimate, Machine, Operator, Profile, connect, cost_on, make_device
from sparsegen.errors import RewritingError
from sparsegen.frontend import from_torch, resolve_model
from sparsegen.graph import LayerGraph
from sparsegen.hetero.api import find_plan
from sparsegen.hetero.plans.plan import Plan
from sparsegen.hetero.rewriting.options import MAX_ERROR, RewriteOptions
from sparsegen.progress import Listener, Steps
from sparsegen.rewriting.accuracy import Accuracy, Reference
from sparsegen.rewriting.budget import within
from sparsegen.rewriting.calibration import Inputs, intervals_on, load_calibration
from sparsegen.rewriting.draft import Price
from sparsegen.rewriting.rewrite import Rewritten, rewrite

_RANDOM = 8
"""Calls with random inputs that results are compared on, where there are no calibration inputs."""


@dataclass(frozen=True, eq=False)
class RewrittenModel:
    """A model rewritten for a device, and what came of it.

    accuracy: of its results beside the model's own, on calibration inputs, or, unless `calibrated`, on random
    ones. before, after: plans of the model and of what became of it, on the host and the device.
    """

    name: str
    device: Device
    graph: LayerGraph
    rewritten: Rewritten
    accuracy: Accuracy
    calibrated: bool
    before: Plan
    after: Plan


def rewrite_model(model: str, options: RewriteOptions, listen: Listener | None = None) -> RewrittenModel:
    """A named model, rewritten by the options.

    Raises SparsegenError for a model, options, a device or calibration inputs that cannot be.
    """
    options.check()
    machine = host_and_device(options.host, options.device)
    steps = Steps(listen, total=4)
    steps.begin("loading and exporting the model")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operators that torch computes: the report tells of each
        network, inputs = resolve_model(model, None, options)
        graph = from_torch(network, inputs)
    calls = load_calibration(options.calibration, graph) if options.calibration is not None else []
    steps.begin("rewriting")
    device = machine.devices[-1]
    rewritten, accuracy = rewritten_for(device, graph, calls, options, inputs, listen)
    plans = []
    for each, what in ((graph, "the model"), (rewritten.graph, "the rewritten model")):
        steps.begin(f"planning {what}")
        plans.append(find_plan(each, machine, inputs, name=model).plan)
    return RewrittenModel(model, device, graph, rewritten, accuracy, bool(calls), plans[0], plans[1])


def rewritten_for(
    device: Device,
    graph: LayerGraph,
    calls: Sequence[Inputs],
    options: RewriteOptions,
    example: tuple[Any, ...],
    listen: Listener | None = None,
) -> tuple[Rewritten, Accuracy]:
    """A graph rewritten for a device, and how far its results are off: on the calls, or on random inputs."""
    intervals = intervals_on(graph, calls) if calls else {}
    reference = Reference(graph, calls or _random_calls(example))
    if options.end_to_end is not None:
        found = within(
            graph, price_on(device), reference, options.end_to_end, intervals=intervals, listen=listen
        )
        return found.rewritten, found.accuracy
    max_error = MAX_ERROR if options.max_error is None else options.max_error
    rewritten = rewrite(graph, price_on(device), max_error=max_error, intervals=intervals)
    return rewritten, reference.accuracy(rewritten.graph)


def price_on(device: Device) -> Price:
    """What operators cost on a device that is a table, or of a kind that can tell.

    The price raises RewritingError for a device that would have to be measured.
    """

    def price(operator: Operator) -> Estimate:
        found = cost_on(device, operator)
        if found is None:
            raise RewritingError(
                f"device {device.name!r} does not tell what it supports: rewrite for a table, such as "
                "edgetpu-usb3"
            )
        return found

    return price


def host_and_device(host: str, device: str) -> Machine:
    """A host and an accelerator, each the name of a table or a file with one, with the accelerator's link.

    Raises DeviceError for others, and RewritingError for one without a link or without ReLU.
    """
    made = [_tabled("host", host), _tabled("device", device)]
    profile = made[1].profile
    assert profile is not None
    if profile.link is None:
        raise RewritingError(f"{device} is no accelerator: its table has no [link] to a host")
    check_relu(device, profile)
    return connect(made, [], "host")


def check_relu(device: str, profile: Profile) -> None:
    """Raise RewritingError for a device, called by this name, that has no ReLU."""
    operators = profile.limits.operators
    if operators is not None and "relu" not in operators:
        raise RewritingError(
            f"{device} has no relu, which nothing replaces: it has "
            f"{', '.join(sorted(operators)) or 'nothing'}"
        )


def _tabled(name: str, table: str) -> Device:
    return make_device(name, "profile", {"table": table}, Path())


def _random_calls(example: tuple[Any, ...]) -> list[Inputs]:
    """Calls like an example: normal numbers for those of floating point, the same of others."""
    generator = torch.Generator().manual_seed(0)

    def like(value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point():
            return value
        return torch.randn(value.shape, generator=generator, dtype=value.dtype)

    return [tuple(like(each) for each in example) for _ in range(_RANDOM)]
