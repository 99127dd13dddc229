"""Where a measurement was made: CPU, caches, governor, versions, and the measured FMA peak."""

from __future__ import annotations

import platform
from importlib import metadata

import torch

from sparsegen.compare.report import Machine
from sparsegen.noise import governors
from sparsegen.runtime.bindings import fma_peak_gflops
from sparsegen.target import Target, cpu_model


def describe_machine(target: Target, threads: int) -> Machine:
    """Describe this machine, and measure the FMA peak of its cores, at most `threads` of them."""
    return Machine(
        cpu=cpu_model(),
        cores=target.cores,
        target=target.name,
        isa=target.isa,
        lanes=target.lanes,
        l1_bytes=target.l1_bytes,
        l2_bytes=target.l2_bytes,
        governor=", ".join(governors()) or None,
        fma_peak_gflops=fma_peak_gflops(target.lanes, min(threads, target.cores)),
        python=platform.python_version(),
        torch=torch.__version__,
        tvm=metadata.version("apache-tvm"),
    )
