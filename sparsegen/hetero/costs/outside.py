"""Operators on devices of other packages' kinds: timed and run through what the kind says runs them."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from sparsegen.devices import Device, kind_of
from sparsegen.errors import DeviceError, SparsegenError, first_line
from sparsegen.graph import LayerGraph
from sparsegen.hetero.costs.measure import SAMPLES, WARM_UP
from sparsegen.hetero.operators.cut import value_forms
from sparsegen.torch_graph.graph import TorchGraph


def runner_there(device: Device, part: LayerGraph) -> Callable[..., Any]:
    """What runs a part of a graph on a device of an outside kind, with its inputs in position.

    Raises DeviceError where the kind makes none.
    """
    try:
        return kind_of(device).runner(device, TorchGraph(part), example_of(part))
    except SparsegenError:
        raise
    except Exception as error:  # the package's, of any type
        raise _failure(device, part, error) from error


def seconds_there(device: Device, part: LayerGraph) -> float:
    """The median of a call's time on a device of an outside kind. Raises DeviceError where it fails."""
    run, example = runner_there(device, part), example_of(part)
    found = []
    for _ in range(WARM_UP + SAMPLES):
        begun = time.perf_counter()
        try:
            run(*example)
        except Exception as error:  # the package's, of any type
            raise _failure(device, part, error) from error
        found.append(time.perf_counter() - begun)
    return statistics.median(found[WARM_UP:])


def place_of(device: Device) -> str:
    """What tells a device of an outside kind from others, for measured costs."""
    return f"{device.kind} {json.dumps(device.settings, sort_keys=True, default=str)}"


def example_of(part: LayerGraph) -> tuple[torch.Tensor, ...]:
    """Inputs of a part: numbers from 0 to 1, and zeros of other types, which may be places in a table."""
    generator = torch.Generator().manual_seed(0)
    forms = value_forms(part)
    found = []
    for name in part.inputs:
        form, dtype = forms[name], getattr(torch, forms[name].dtype)
        if dtype.is_floating_point:
            found.append(torch.rand(form.shape, generator=generator).to(dtype))
        else:
            found.append(torch.zeros(form.shape, dtype=dtype))
    return tuple(found)


def _failure(device: Device, part: LayerGraph, error: Exception) -> DeviceError:
    return DeviceError(
        f"device {device.name!r}, of kind {device.kind!r}, cannot run layer {part.layers[0].name!r}: "
        f"{type(error).__name__}: {first_line(error)}; mend or uninstall the package of that kind"
    )
