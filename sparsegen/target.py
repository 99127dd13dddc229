"""The CPU that code is generated for: ISA, vector lanes, registers, caches, cores."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm
from tvm.target import codegen

from sparsegen.errors import TargetError

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
# Where the machine does not tell: the least of x86 servers.
_L1_BYTES, _L2_BYTES, _L3_BYTES = 32 << 10, 512 << 10, 16 << 20


@dataclass(frozen=True)
class Target:
    """A CPU as the kernels see it.

    `lanes` are float32 elements of a vector register, `registers` the number of those; the caches are in
    bytes, L1 and L2 per core, L3 of all cores that share it. `loads` is the number of
    whole vectors that a core loads from its L1 cache in a cycle, `fmas` the number of vector multiply-adds
    it starts.
    """

    cpu: str
    isa: str
    lanes: int
    registers: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    cores: int
    loads: float
    fmas: float

    def llvm(self) -> Any:
        """TVM's target for code generation."""
        return tvm.target.Target({"kind": "llvm", "mcpu": self.cpu, "opt-level": 3})

    @property
    def name(self) -> str:
        """LLVM's name of the CPU."""
        return self.cpu


def _cache_bytes(level: int, default: int) -> int:
    for index in sorted(_CACHES.glob("index*")):
        kind = (index / "type").read_text().strip()
        if int((index / "level").read_text()) == level and kind != "Instruction":
            return int((index / "size").read_text().strip().removesuffix("K")) << 10
    return default


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def cpu_model() -> str:
    """The name of this machine's CPU, such as AMD EPYC 9B45."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _features(cpu: str) -> frozenset[str]:
    return frozenset(codegen.llvm_get_cpu_features(tvm.target.Target({"kind": "llvm", "mcpu": cpu})))


@functools.cache
def parse_target(name: str = "native", *, elsewhere: bool = False) -> Target:
    """The target called `name`: `native`, or an LLVM CPU name such as `haswell` or `znver4`.

    Caches and cores are this machine's. Code that runs `elsewhere` only, on another machine, may be for
    any CPU; its caches are then taken to be this machine's where that has the same CPU, and else
    32 KiB, 512 KiB and 16 MiB, the least of x86 servers. Raises SparsegenError for a name that LLVM does not
    know, a CPU without AVX2 and FMA, and one that this machine cannot run, unless that is no matter.
    """
    native = str(codegen.llvm_get_system_cpu())
    cpu = native if name == "native" else name
    known = {str(known) for known in codegen.llvm_get_cpu_archlist(tvm.target.Target("llvm"))}
    if cpu not in known:
        raise TargetError(
            f"target {name!r} is no CPU that LLVM knows; give 'native' or a name such as "
            "'haswell', 'skylake-avx512', 'znver4'"
        )
    features = _features(cpu)
    if not {"avx2", "fma"} <= features:
        raise TargetError(f"target {cpu!r} has no AVX2 with FMA, the least that sparsegen generates code for")
    wide = "avx512f" in features
    if wide and not elsewhere and "avx512f" not in _features(native):
        raise TargetError(f"target {cpu!r} has AVX-512, which this machine ({native}) cannot run")
    # Zen 4 moves 512-bit vectors in two halves; every other AVX-512 core loads two a cycle.
    halved = cpu == "znver4"
    known_caches = cpu == native or not elsewhere
    return Target(
        cpu=cpu,
        isa="AVX-512" if wide else "AVX2",
        lanes=16 if wide else 8,
        registers=32 if wide else 16,
        l1_bytes=_cache_bytes(1, _L1_BYTES) if known_caches else _L1_BYTES,
        l2_bytes=_cache_bytes(2, _L2_BYTES) if known_caches else _L2_BYTES,
        l3_bytes=_cache_bytes(3, _L3_BYTES) if known_caches else _L3_BYTES,
        cores=available_cores(),
        loads=1.0 if halved else 2.0,
        fmas=1.0 if halved else 2.0,
    )
