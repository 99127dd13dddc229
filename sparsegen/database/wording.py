"""How a table and a picture write workloads: operator, channels and size; sparsity; batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsegen.database.workload import Workload
from sparsegen.formats.structure_names import DENSE, EMPTY
from sparsegen.wording import dimensions


def workload_phrase(workload: Workload) -> str:
    """`3x3 conv 64→64 at 56x56, 50% unstructured, batch 16`."""
    return f"{operator_phrase(workload)}, {zeros_phrase(workload)}, batch {batch_of(workload)}"


def operator_phrase(workload: Workload) -> str:
    """Operator, channels and the size of the input: `3x3 conv 64→128 at 56x56, stride 2`.

    Groups, dilation and padding are told where they are not the usual ones. An operator that is not
    known, or whose parameters are not its own, is told by its shapes.
    """
    write = _WRITERS.get(workload.operator)
    try:
        return _by_shapes(workload) if write is None else write(workload, dict(workload.parameters))
    except (KeyError, IndexError, TypeError, ValueError):  # a log may hold anything
        return _by_shapes(workload)


def zeros_phrase(workload: Workload) -> str:
    """Share of zeros and their structure: `50% unstructured`, `50% vector:8`; `2:4`, `dense`."""
    structure = workload.structure
    if structure in (DENSE, EMPTY) or structure[:1].isdecimal():
        return structure
    return f"{100 * (1 - workload.density):.0f}% {structure}"


def batch_of(workload: Workload) -> int:
    """The first extent of the input."""
    return workload.input[0] if workload.input else 1


def _conv(workload: Workload, parameters: dict[str, Any]) -> str:
    out, per_group, *kernel = parameters["weight"]
    groups = parameters.get("groups", 1)
    dilation = parameters.get("dilation", (1, 1))
    vertical, horizontal = (reach * (extent - 1) // 2 for reach, extent in zip(dilation, kernel, strict=True))
    usual = (vertical, vertical, horizontal, horizontal)
    kind, channels = "conv", f"{per_group * groups}→{out}"
    if groups > 1:
        kind = "depthwise conv" if per_group == 1 else f"conv in {groups} groups"
    notes = [
        _note("stride", parameters.get("stride", (1, 1)), usual=(1, 1)),
        _note("dilation", dilation, usual=(1, 1)),
        _note("padding", parameters.get("padding", usual), usual=usual),
    ]
    return f"{dimensions(kernel)} {kind} {channels} at {dimensions(workload.input[2:])}{''.join(notes)}"


def _linear(workload: Workload, parameters: dict[str, Any]) -> str:
    out, features = parameters["weight"]
    inner = workload.input[1:-1]
    return f"linear {features}→{out}" + (f" at {dimensions(inner)}" if inner else "")


def _pool(workload: Workload, parameters: dict[str, Any]) -> str:
    kernel = parameters["kernel"]
    notes = [
        _note("stride", parameters.get("stride", (1, 1)), usual=(1, 1)),
        _note("dilation", parameters.get("dilation", (1, 1)), usual=(1, 1)),
    ]
    name = f"{dimensions(kernel)} {parameters['kind']} pool"
    return f"{name} {workload.input[1]} at {dimensions(workload.input[2:])}{''.join(notes)}"


def _adaptive_pool(workload: Workload, parameters: dict[str, Any]) -> str:
    sizes = f"{dimensions(workload.input[2:])} to {dimensions(parameters['output'])}"
    return f"{parameters['kind']} pool {workload.input[1]} at {sizes}"


def _by_shapes(workload: Workload) -> str:
    return f"{workload.operator} {dimensions(workload.input)}→{dimensions(workload.output)}"


_WRITERS = {"conv2d": _conv, "linear": _linear, "pool2d": _pool, "adaptivepool2d": _adaptive_pool}


def _note(name: str, values: Sequence[int], *, usual: Sequence[int]) -> str:
    """`, stride 2`, one number where all are alike; nothing where they are the usual ones."""
    if tuple(values) == tuple(usual):
        return ""
    return f", {name} {values[0] if len(set(values)) == 1 else dimensions(values)}"
