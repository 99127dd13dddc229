"""A job's input in the kernel's layout, and the result that it must give there."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsegen.graph import Conv2d
from sparsegen.kernels.operands import Value
from sparsegen.kernels.taps import SplitPhases, phase_taps
from sparsegen.lowering.layout import Layout
from sparsegen.reference import Operator, evaluate_operator
from sparsegen.tuner.jobs import Job

_SEED = 0
_PLAIN: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}  # whatever torch's defaults are
_TOLERANCE = 1e-4  # of the largest result: single precision, in any order of summation


@dataclass(frozen=True, eq=False)
class Case:
    """Input buffer [groups, size] of a job, filled; layout of its output; the expected output.

    That is evaluated in float64, and then rounded to float32.
    """

    source: Tensor
    out: Layout
    expected: Tensor

    @functools.cached_property
    def largest(self) -> float:
        """The largest expected value."""
        return max(1e-30, float(self.expected.abs().max()))

    def error(self, result: Tensor) -> float:
        """Largest difference of an output buffer from what is expected, over the largest expected value."""
        return float((logical(result, self.out) - self.expected).abs_().max()) / self.largest

    def accepts(self, result: Tensor) -> bool:
        """Whether an output buffer holds the expected result, as far as single precision goes."""
        return self.error(result) <= _TOLERANCE

    def save(self, path: Path) -> None:
        """Write the case to a file, at once or not at all."""
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        with partial.open("wb") as file:
            np.savez(file, source=self.source.numpy(), expected=self.expected.numpy())
        partial.replace(path)

    @classmethod
    def load(cls, path: Path, job: Job) -> Case:
        """The case of a job, from a file."""
        with np.load(path) as file:
            source, expected = (torch.from_numpy(file[name]) for name in ("source", "expected"))
        return cls(source, _layout(job, job.placed.name), expected)


def prepare(job: Job) -> Case:
    """Random input of a fixed seed, and its result."""
    core = job.layer.core
    assert isinstance(core, Operator)
    x = torch.randn(job.input_shape, generator=torch.Generator().manual_seed(_SEED), **_PLAIN)
    read = x
    if job.source != job.layer.inputs[0]:
        assert isinstance(core, Conv2d)
        read = _split(x, phase_taps(core)[0])
    expected = evaluate_operator(core, x, job.layer.shape).float()
    return Case(filled(read, _layout(job, job.source)), _layout(job, job.placed.name), expected)


def filled(x: Tensor, layout: Layout) -> Tensor:
    """A buffer [groups, size] that holds `x` in a layout, its halo zero."""
    plain: dict[str, Any] = {"dtype": getattr(torch, layout.dtype), "device": "cpu"}
    buffer = torch.zeros(layout.groups, layout.size, **plain)
    view = _view(buffer, layout)
    if layout.batch_lanes:  # the last group may have lanes without an image
        images = torch.zeros(layout.groups * layout.lanes, *layout.element_shape, **plain)
        images[: len(x)] = x
        x = images.view(view.shape)
    view.copy_(x)
    return buffer


def logical(buffer: Tensor, layout: Layout) -> Tensor:
    """What a buffer [groups, size] holds, in the layout's logical shape."""
    view = _view(buffer, layout)
    return view.flatten(0, 1)[: layout.shape[0]] if layout.batch_lanes else view


def _view(buffer: Tensor, layout: Layout) -> Tensor:
    """The elements of a buffer: [N, ...], or [groups, lanes, ...] with batch lanes."""
    begin = buffer.storage_offset() + layout.base
    if layout.batch_lanes:
        shape = (layout.groups, layout.lanes, *layout.element_shape)
        return buffer.as_strided(shape, (layout.size, 1, *layout.strides), begin)
    return buffer.as_strided(layout.shape, (layout.size, *layout.strides), begin)


def _layout(job: Job, name: str) -> Layout:
    value = job.context.operands[name]
    assert isinstance(value, Value)
    return value.layout


def _split(x: Tensor, split: SplitPhases) -> Tensor:
    """An image [N, C, H, W] by stride phase: [N, C * phases, H / stride, W / stride], rounded up."""
    batch, channels, height, width = split.shape(tuple(x.shape))
    result = torch.zeros(batch, channels, height, width, **_PLAIN)
    count = len(split.phases)
    for p, (y, x_phase) in enumerate(split.phases):
        part = x[:, :, y :: split.stride[0], x_phase :: split.stride[1]]
        result[:, p::count, : part.shape[2], : part.shape[3]] = part
    return result
