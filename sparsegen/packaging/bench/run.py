"""A file of a model measured: loaded once, run by instances, told as a report."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

import numpy as np
from sparsegen_runtime import LoadedModel, NeedsTorchError
from sparsegen_runtime import load as load_alone
from sparsegen_runtime.variant import Variant

from sparsegen.cpuinfo import available_cores, read_cpuinfo
from sparsegen.errors import OptionError
from sparsegen.noise import governors, warn_of_noise
from sparsegen.packaging.bench.instances import Instances
from sparsegen.packaging.bench.options import BenchOptions
from sparsegen.packaging.bench.report import BenchReport, Machine, instance_result, latency
from sparsegen.progress import Listener, Steps
from sparsegen.wording import counted, threads_phrase

_UPDATES, _OFTEN_S = 19, 0.5
"""How often progress is told while instances run: so many times at most, and every so many seconds."""


def bench_file(path: Path, options: BenchOptions, on_progress: Listener | None = None) -> BenchReport:
    """Measure the model of a file: latency, throughput and memory of instances that run side by side.

    Each is a process with cores of its own, and calls the C runtime on memory that is there: what Python's
    own calls take is not in the times. Random numbers are the inputs.

    Raises OptionError for options, for more threads than cores, and for a batch that the file has not,
    NeedsTorchError for a model that needs torch, MeasurementError where an instance fails or dies, and what
    `load` raises.
    """
    options.check()
    updates = min(_UPDATES, math.ceil(options.seconds / _OFTEN_S) - 1)
    steps = Steps(on_progress, total=2 + updates)
    model = _load(path, options.threads)
    variant = _choose(model, path, options)
    threads = options.threads or variant.threads
    cores = _share_out(options.instances, threads)
    machine, noise = _describe(), warn_of_noise()
    variant.prepare()  # here: what it makes, instances share
    with Instances(variant, cores) as instances:
        steps.begin(f"warming up {counted(options.instances, 'instance')}")
        ready = instances.ready()
        steps.begin(f"measuring for {options.seconds:g} s")
        times = instances.measure(
            options.seconds,
            ticks=updates,
            tick=lambda calls: steps.begin(f"measuring: {counted(calls, 'call')}"),
        )
    return BenchReport(
        path=str(path),
        target=variant.target,
        batch=_batch_of(variant),
        threads=threads,
        compiled_threads=variant.threads,
        input_shapes=variant.input_shapes,
        seconds=options.seconds,
        machine=machine,
        instances=tuple(map(instance_result, cores, ready, times)),
        latency_ms=latency(times),
        warnings=noise,
    )


def _load(path: Path, threads: int | None) -> LoadedModel:
    try:
        return load_alone(path, threads)
    except NeedsTorchError as error:
        raise NeedsTorchError(
            f"{path}: torch computes some of the model's operators, and models that need torch are not "
            "measured here: compile it with --fallback error to see which, or time calls of sparsegen.load"
        ) from error


def _choose(model: LoadedModel, path: Path, options: BenchOptions) -> Variant:
    """The variant for the batch, or for the first one's shapes; of several, one of the threads asked for."""
    fitting = [each for each in model.variants if each.input_shapes == model.input_shapes]
    if options.batch is not None:
        fitting = [each for each in model.variants if _batch_of(each) == options.batch]
    if not fitting:
        there = sorted({batch for each in model.variants if (batch := _batch_of(each)) is not None})
        raise OptionError(
            f"{path} has no variant for a batch of {options.batch}: it has "
            f"{', '.join(map(str, there)) or 'none with a batch'}; compile it for that batch, or give another"
        )
    return min(fitting, key=lambda each: each.threads != options.threads)


def _batch_of(variant: Variant) -> int | None:
    """The first extent that all inputs have in common; None where there is none."""
    first = {shape[:1] for shape in variant.input_shapes}
    extents = first.pop() if len(first) == 1 else ()
    return extents[0] if extents else None


def _share_out(instances: int, threads: int) -> list[list[int]]:
    """The cores of each instance, one a thread. Raises OptionError where there are too few."""
    cores = sorted(os.sched_getaffinity(0))
    if instances * threads > len(cores):
        raise OptionError(
            f"{counted(instances, 'instance')} of {threads_phrase(threads)} take {instances * threads} "
            f"cores, and this process may use {len(cores)}: give fewer --instances or --threads"
        )
    return [cores[place * threads : (place + 1) * threads] for place in range(instances)]


def _describe() -> Machine:
    name, _ = read_cpuinfo()
    return Machine(
        cpu=name or platform.processor() or platform.machine(),
        cores=available_cores(),
        governor=", ".join(governors()) or None,
        load=os.getloadavg(),
        python=platform.python_version(),
        numpy=np.__version__,
    )
