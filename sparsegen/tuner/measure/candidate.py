"""A candidate: a job's kernel under one schedule, built into files, checked and timed."""

from __future__ import annotations

import functools
import gc
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tvm_ffi

from sparsegen.files import temporary_files
from sparsegen.kernels import build_kernel
from sparsegen.kernels.space import KernelSchedule
from sparsegen.lowering.build import build_alone
from sparsegen.runtime import bindings
from sparsegen.runtime.calls import as_tvm
from sparsegen.runtime.library import function_of, load
from sparsegen.runtime.memory import allocate, place_arrays
from sparsegen.runtime.program import array_at
from sparsegen.tuner.jobs import Job
from sparsegen.tuner.measure.buffers import Case, prepare

_JOBS = 4  # whose input and expected output a process keeps
QUICK_MS, QUICK = 1.0, 2  # kernels quicker than so are timed so many times as often
FIRST = 3  # timings after which a hopeless candidate is left


class WrongResultError(Exception):
    """A kernel computed something else than the reference."""


class LostError(Exception):
    """The machine that measures went away."""


@dataclass(frozen=True)
class BuiltCandidate:
    """A built candidate: its library, the function's name in it, the file of its weights' arrays."""

    library: Path
    name: str
    arrays: Path

    def delete(self) -> None:
        """Remove its files."""
        self.library.unlink(missing_ok=True)
        self.arrays.unlink(missing_ok=True)


@functools.lru_cache(_JOBS)
def read_job(path: Path) -> Job:
    """The job that was written to a file."""
    with path.open("rb") as file:
        job: Job = pickle.load(file)
    return job


@functools.lru_cache(_JOBS)
def case_of(path: Path) -> Case:
    """The input and the expected output of the job that was written to a file."""
    return Case.load(_case_path(path), read_job(path))


def prepare_case(path: Path) -> None:
    """Work out a job's input and expected output, once for all processes that read the job."""
    if not _case_path(path).exists():
        case = prepare(read_job(path))
        with temporary_files():
            case.save(_case_path(path))


def _case_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.case")


def build(path: Path, schedule: KernelSchedule, folder: Path, name: str) -> BuiltCandidate:
    """Compile the kernel of a job under a schedule into files of `folder`.

    Raises SparsegenError where gcc or the folder fails, whatever the schedule.
    """
    job = read_job(path)
    context = replace(job.context, schedules={job.placed.name: schedule})
    kernel = build_kernel(job.placed, context)
    candidate = BuiltCandidate(folder / f"{name}.so", name, folder / f"{name}.npz")
    library = build_alone(kernel, name, context.target)
    with temporary_files():
        candidate.library.write_bytes(library)
        np.savez(candidate.arrays, *(each for each in kernel.arguments if not isinstance(each, str)))
    return candidate


def run(
    path: Path, candidates: Sequence[BuiltCandidate], threads: int, samples: int, hopeless_ms: float
) -> list[tuple[float, ...]]:
    """Check every candidate of a job, then time them in turn: milliseconds, by candidate.

    Before every timing the core's caches are emptied of the kernel's weights, and its input is written
    anew, as the layer before would have. A single candidate that is slower than `hopeless_ms` at
    first is timed no further.

    Raises WrongResultError where a candidate's result differs from the reference.
    """
    case = case_of(path)
    torch.set_num_threads(threads)
    bindings.set_threads(threads)
    source = _allocate(case.source.shape, case.source.dtype)
    out = _allocate((case.out.groups, case.out.size), getattr(torch, case.out.dtype))
    calls = [_bind(candidate, source, out) for candidate in candidates]
    for call in calls:
        source.copy_(case.source)
        out.fill_(torch.nan)
        call()
        if not case.accepts(out):
            raise WrongResultError(f"off by {case.error(out):.2g} of the largest value")
    floats = threads * read_job(path).context.target.l2_bytes // 2  # twice the caches
    cold = torch.zeros(floats, dtype=torch.float32, device="cpu")

    def timed(call: Callable[[], object]) -> float:
        cold.add_(1.0)
        source.copy_(case.source)
        began = time.perf_counter()
        call()
        return (time.perf_counter() - began) * 1e3

    gc.disable()
    times: list[list[float]] = [[] for _ in calls]
    quick = min(timed(call) for call in calls) < QUICK_MS
    rng = np.random.default_rng(0)
    for sample in range(samples * (QUICK if quick else 1)):
        for i in rng.permutation(len(calls)).tolist():
            times[i].append(timed(calls[i]))
        if len(calls) == 1 and sample + 1 == FIRST and min(times[0]) > hopeless_ms:
            break
    gc.enable()
    return [tuple(each) for each in times]


def _allocate(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    size = dtype.itemsize * int(np.prod(shape))
    return torch.from_numpy(allocate(size)[:size]).view(dtype).view(*shape)


def _bind(candidate: BuiltCandidate, source: torch.Tensor, out: torch.Tensor) -> Callable[[], object]:
    """A call of a candidate's function; kernels with a space read one value, their first argument."""
    function = function_of(load(candidate.library.read_bytes()), candidate.name)
    with np.load(candidate.arrays) as file:
        block, placed = place_arrays([file[name] for name in file.files])
    weights = [as_tvm(array_at(block, each)) for each in placed]
    arguments = [tvm_ffi.from_dlpack(source), *weights, tvm_ffi.from_dlpack(out)]
    return lambda: function(*arguments)
