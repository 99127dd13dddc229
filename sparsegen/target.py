"""The CPU that code is generated for, and the machine that runs it: ISA, caches, cores."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tvm
from tvm.target import codegen

from sparsegen.calibration import read_calibration
from sparsegen.cpuinfo import available_cores, read_cpuinfo
from sparsegen.errors import TargetError
from sparsegen.isa import FLAGS, SPEEDS, UNKNOWN_SPEED, UNSHOWN, Isa, Speed, isa_of, rates

HOST_CPU = "SPARSEGEN_HOST_CPU"
"""Environment variable, for tests and bug reports: LLVM's name of a CPU. This machine then has that name and
no features that such a CPU lacks, here and in processes that are started from here."""

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
# Where the machine does not tell: the least of x86 servers.
_L1_BYTES, _L2_BYTES, _L3_BYTES = 32 << 10, 512 << 10, 16 << 20
_LEAST = "the least that sparsegen generates code for"
_CACHED = 2.0  # times as long as the load ports promise take reads and writes of an L2 cache
# Of x86-64, the best first: what stands for a CPU that LLVM knows no better.
_LEVELS = ("x86-64-v4", "x86-64-v3")


@dataclass(frozen=True)
class Target:
    """A CPU as the kernels see it.

    `cpu` is LLVM's name, `instructions` what its kernels are made of; `without` are the features that CPUs
    of the name have and this one has not, for which no code is generated. The caches are in
    bytes, L1 and L2 per core, L3 of all cores that share it. `loads` is the number of
    whole vectors that a core loads from its L1 cache in a cycle, `fmas` the number of vector multiply-adds
    it starts.
    """

    cpu: str
    instructions: Isa
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    cores: int
    loads: float
    fmas: float
    speed: Speed = UNKNOWN_SPEED
    without: tuple[str, ...] = ()

    def llvm(self) -> Any:
        """TVM's target for code generation."""
        return _llvm(self.cpu, self.without, **{"opt-level": 3})

    @property
    def name(self) -> str:
        """LLVM's name of the CPU."""
        return self.cpu

    @property
    def isa(self) -> str:
        """The name of the instruction set: AVX2, AVX-512."""
        return self.instructions.name

    @property
    def lanes(self) -> int:
        """float32 elements of a vector register."""
        return self.instructions.lanes

    def lanes_of(self, dtype: str) -> int:
        """Elements of a type of a vector register."""
        return self.instructions.lanes_of(dtype)

    @property
    def registers(self) -> int:
        """Vector registers."""
        return self.instructions.registers

    def bandwidth(self, threads: int, *, cached: bool = False) -> float:
        """Bytes a second that so many threads read and write, of memory or of their own caches."""
        if cached:
            return threads * self.loads * self.instructions.vector_bytes * self.speed.clock_hz / _CACHED
        return min(threads * self.speed.core_bandwidth, self.speed.socket_bandwidth)

    def peak(self, threads: int) -> float:
        """Multiply-adds of float32 a second that so many threads can do at most."""
        return threads * self.fmas * self.lanes * self.speed.clock_hz


@dataclass(frozen=True)
class Host:
    """A machine that code runs on, as it describes itself.

    `cpu` is LLVM's name of its CPU, `model` the maker's; `flags` are Linux's names of what CPU and operating
    system let programs use, none where the system does not tell. Caches are in bytes, 0 where not known.
    """

    cpu: str
    model: str
    flags: frozenset[str]
    cores: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int

    def lacks(self, features: Iterable[str]) -> tuple[str, ...]:
        """Those of the features that LLVM uses where it sees fit, and this machine does not let it, sorted.

        What the system does not tell of, CPUs of this machine's name in LLVM have.
        """
        own = _features(self.cpu)

        def lacking(feature: str) -> bool:
            if feature in FLAGS and self.flags:
                return FLAGS[feature] not in self.flags
            return (feature in FLAGS or feature in UNSHOWN) and feature not in own

        return tuple(sorted(filter(lacking, features)))

    @property
    def hidden(self) -> tuple[str, ...]:
        """What CPUs of its name have, and this machine lacks."""
        return self.lacks(_features(self.cpu))

    def usable(self, cpu: str) -> frozenset[str]:
        """What CPUs of a name have, in LLVM's names, without what this machine lacks."""
        return _features(cpu, self.lacks(_features(cpu)))


def _cache_bytes(level: int) -> int:
    for index in sorted(_CACHES.glob("index*")):
        try:
            kind = (index / "type").read_text().strip()
            if int((index / "level").read_text()) == level and kind != "Instruction":
                return int((index / "size").read_text().strip().removesuffix("K")) << 10
        except (OSError, ValueError):  # a virtual machine may leave out what it does not know
            continue
    return 0


def cpu_model() -> str:
    """The name of this machine's CPU, such as AMD EPYC 9B45."""
    return this_host().model


def read_host() -> Host:
    """This machine as it is."""
    model, flags = read_cpuinfo()
    return Host(
        cpu=str(codegen.llvm_get_system_cpu()),
        model=model or platform.processor() or platform.machine(),
        flags=flags,
        cores=available_cores(),
        l1_bytes=_cache_bytes(1),
        l2_bytes=_cache_bytes(2),
        l3_bytes=_cache_bytes(3),
    )


@functools.cache
def this_host() -> Host:
    """This machine, or as much of it as a CPU has that SPARSEGEN_HOST_CPU names.

    Raises TargetError where that is no CPU.
    """
    host, cpu = read_host(), os.environ.get(HOST_CPU)
    return disguised(host, cpu) if cpu else host


def disguised(host: Host, cpu: str) -> Host:
    """The machine as if its CPU were another, with no more features than both have.

    Raises TargetError for a name that LLVM does not know.
    """
    _check_known(cpu, f"{HOST_CPU} is {cpu!r}: that", give="a name")
    flags = {FLAGS[feature] for feature in _features(cpu) if feature in FLAGS}
    return replace(host, cpu=cpu, flags=host.flags & flags if host.flags else frozenset(flags))


def parse_target(name: str = "native", *, elsewhere: bool = False) -> Target:
    """The target called `name`: `native`, or an LLVM CPU name such as `haswell` or `znver4`.

    `native` is this machine's CPU with what machine and operating system let it use: features that its name
    stands for and that are hidden or not enabled are not used. Other names stand for all of their features.

    Caches and cores are this machine's. Code that runs `elsewhere` only, on another machine, may be for
    any CPU; its caches are then taken to be this machine's where that has the same CPU, and else
    32 KiB, 512 KiB and 16 MiB, the least of x86 servers. Raises TargetError for a name that LLVM does not
    know, a CPU without AVX2 and FMA, and one with features that this machine lacks, unless that is no matter.
    """
    return native_target(this_host()) if name == "native" else _named_target(name, this_host(), elsewhere)


def calibrated(target: Target, calibration: str | os.PathLike[str] | None) -> Target:
    """The target with the speed that a calibration file tells, where one is given.

    Raises CalibrationError for a file that cannot be read, and TargetError for one of another CPU.
    """
    if calibration is None:
        return target
    measured = read_calibration(calibration)
    if measured.cpu != target.name:
        raise TargetError(
            f"the calibration {calibration} is of {measured.cpu} ({measured.model}), and the code is for "
            f"{target.name}: calibrate a machine of that CPU, or leave it out"
        )
    return replace(target, speed=measured.speed)


def code_features(cpu: str, without: Iterable[str] = ()) -> frozenset[str]:
    """What code for a CPU, which does without some features, may use, by LLVM's names.

    These are those that `check_runs` looks for. Raises TargetError for a name that LLVM does not know.
    """
    _check_known(cpu, f"the code is for {cpu!r}: that", give="a name")
    skipped = frozenset(without)
    return frozenset(
        each for each in _features(cpu) if (each in FLAGS or each in UNSHOWN) and each not in skipped
    )


def flags_of(features: Iterable[str]) -> list[str]:
    """The features, by Linux's names where it has any for them, sorted."""
    return sorted({FLAGS.get(feature, feature) for feature in features})


def check_runs(cpu: str, without: Iterable[str] = ()) -> None:
    """Raises TargetError where code for a CPU, which does without some features, cannot run here.

    That is where LLVM knows no such CPU, or this machine lacks one of the other features.
    """
    _check_runs(cpu, frozenset(without), this_host())


@functools.cache
def _check_runs(cpu: str, without: frozenset[str], host: Host) -> None:
    _check_known(cpu, f"the code is for {cpu!r}: that", give="a name")
    if lacking := [feature for feature in host.lacks(_features(cpu)) if feature not in without]:
        raise TargetError(
            f"the code is for {cpu!r} and may use {', '.join(lacking)}, {_lacks(host)}: compile the model "
            "for this machine"
        )


def _lacks(host: Host) -> str:
    return (
        f"which this machine ({host.model}, {host.cpu} to LLVM) lacks, or its operating system or "
        "hypervisor hides"
    )


@functools.cache
def native_target(host: Host) -> Target:
    """The target of a machine: what code that is made there, or for it, can use.

    A CPU that LLVM knows no better is the widest level of x86-64 that it has. Raises TargetError for a
    machine without AVX2 and FMA.
    """
    levels = (level for level in _LEVELS if isa_of(_features(level)) == isa_of(host.usable(level)))
    cpu = host.cpu if isa_of(host.usable(host.cpu)) else next(levels, host.cpu)
    isa = isa_of(host.usable(cpu))
    if isa is None:
        raise TargetError(
            f"the CPU {host.model} ({host.cpu} to LLVM) has no AVX2 with FMA, or the operating system or "
            f"hypervisor hides them: they are {_LEAST}"
        )
    return _target(cpu, isa, host, caches=host, without=host.lacks(_features(cpu)))


@functools.cache
def _named_target(name: str, host: Host, elsewhere: bool) -> Target:
    _check_known(name, f"target {name!r}", give="'native' or a name")
    features = _features(name)
    isa = isa_of(features)
    if isa is None:
        raise TargetError(f"target {name!r} has no AVX2 with FMA, {_LEAST}")
    lacking = host.lacks(features)
    if lacking and not elsewhere:
        raise TargetError(
            f"target {name!r} has {', '.join(lacking)}, {_lacks(host)}: it cannot run such code; "
            "give 'native', or a CPU with no more than this one has, such as 'haswell'"
        )
    return _target(name, isa, host, caches=host if name == host.cpu or not elsewhere else None)


def _target(cpu: str, isa: Isa, host: Host, *, caches: Host | None, without: tuple[str, ...] = ()) -> Target:
    loads, fmas = rates(cpu, isa)
    return Target(
        cpu=cpu,
        instructions=isa,
        l1_bytes=(caches and caches.l1_bytes) or _L1_BYTES,
        l2_bytes=(caches and caches.l2_bytes) or _L2_BYTES,
        l3_bytes=(caches and caches.l3_bytes) or _L3_BYTES,
        cores=host.cores,
        loads=loads,
        fmas=fmas,
        speed=SPEEDS.get(cpu, UNKNOWN_SPEED),
        without=without,
    )


def _check_known(cpu: str, what: str, *, give: str) -> None:
    if cpu not in _known_cpus():
        raise TargetError(
            f"{what} is no CPU that LLVM knows; give {give} such as 'haswell', 'skylake-avx512', 'znver4'"
        )


@functools.cache
def _known_cpus() -> frozenset[str]:
    return frozenset(map(str, codegen.llvm_get_cpu_archlist(tvm.target.Target("llvm"))))


@functools.cache
def _features(cpu: str, without: tuple[str, ...] = ()) -> frozenset[str]:
    """What LLVM takes a CPU to have, and what it does where features are switched off, which others need."""
    return frozenset(map(str, codegen.llvm_get_cpu_features(_llvm(cpu, without))))


def _llvm(cpu: str, without: tuple[str, ...], **options: Any) -> Any:
    attributes = {"mattr": [f"-{feature}" for feature in without]} if without else {}
    return tvm.target.Target({"kind": "llvm", "mcpu": cpu, **attributes, **options})
