"""Instruction sets as data: vectors, the features that they take, and what CPU families do in a cycle."""

from __future__ import annotations

from dataclasses import dataclass

from sparsegen.graph import FLOAT32, ITEM_BYTES


@dataclass(frozen=True)
class Isa:
    """An instruction set that kernels are made for.

    `vector_bytes` are those of a vector register, `registers` the number of these. `features` are what a
    CPU must have for it, by LLVM's names. `expand` is LLVM's intrinsic that puts neighbouring floats in the
    lanes of a mask, as masked vectors need: (floats, what the other lanes get, mask); empty for none.
    `lookup` is the one that takes every lane from a place in two vectors: (first, places, second).
    """

    name: str
    vector_bytes: int
    registers: int
    features: frozenset[str]
    expand: str = ""
    lookup: str = ""

    @property
    def lanes(self) -> int:
        """float32 elements of a vector."""
        return self.lanes_of(FLOAT32)

    def lanes_of(self, dtype: str) -> int:
        """Elements of a type of a vector."""
        return self.vector_bytes // ITEM_BYTES[dtype]


AVX512 = Isa(
    "AVX-512",
    64,
    32,
    frozenset({"avx2", "fma", "avx512f"}),
    expand="llvm.x86.avx512.mask.expand",
    lookup="llvm.x86.avx512.vpermi2var.ps.512",
)
AVX2 = Isa("AVX2", 32, 16, frozenset({"avx2", "fma"}))

ISAS = (AVX512, AVX2)
"""All of them, the best first: a CPU's is the first one whose features it has."""

LONGEST = max(isa.lanes for isa in ISAS)
"""float32 elements of the longest vector of any."""


def expanding() -> str:
    """The names of those with an `expand`, in words."""
    return " or ".join(isa.name for isa in ISAS if isa.expand)


def isa_of(features: frozenset[str]) -> Isa | None:
    """The best instruction set of a CPU with these features; None where they are too few for any."""
    return next((isa for isa in ISAS if isa.features <= features), None)


_NAMED_ALIKE = (
    *("avx", "avx2", "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512ifma", "avx512vbmi", "avx512vl"),
    *("bmi2", "cmov", "cx16", "cx8", "f16c", "fma", "fma4", "gfni", "mmx", "movbe", "popcnt"),
    *("sse", "sse2", "sse4a", "ssse3", "tbm", "xop"),
)
FLAGS = {
    **{name: name for name in _NAMED_ALIKE},
    **dict.fromkeys(("ccmp", "egpr", "ndd", "nf", "ppx", "push2pop2", "zu"), "apx"),
    "avx512bf16": "avx512_bf16",
    "avx512bitalg": "avx512_bitalg",
    "avx512fp16": "avx512_fp16",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512vp2intersect": "avx512_vp2intersect",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avxvnni": "avx_vnni",
    "bmi": "bmi1",
    "lzcnt": "abm",
    "prfchw": "3dnowprefetch",
    "sahf": "lahf_lm",
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
}
"""Linux's flag, as in /proc/cpuinfo, of every feature that LLVM uses where it sees fit, by LLVM's name.

The others that LLVM knows say what is fast, or are instructions that code must ask for by name, as ours
never does (aes, amx-tile, xsave and the like): a machine may lack them.
"""

UNSHOWN = frozenset(
    {"avx10.1", "avx10.2", "avxifma", "avxneconvert", "avxvnniint16", "avxvnniint8", "cmpccxadd"}
)
"""Features of the same kind that Linux has shown no flag of."""


@dataclass(frozen=True)
class Family:
    """What a core of some CPUs, by LLVM's names, loads from its L1 cache and multiplies in a cycle."""

    cpus: frozenset[str]
    load_bytes: int
    fma_bytes: int


_MOST = 2.0  # vectors that a core loads in a cycle, and multiply-adds of vectors that it starts

FAMILIES = (
    # Vectors of 32 bytes in two halves.
    Family(frozenset({"bdver4", "znver1"}), 32, 32),
    # Vectors of 64 bytes in two halves.
    Family(frozenset({"znver4"}), 64, 64),
    # One unit for multiply-adds of 64 bytes, where servers have two.
    Family(frozenset({"cannonlake", "icelake-client", "rocketlake", "tigerlake"}), 128, 64),
)
"""The families whose cores do less than the others': two loads and two multiply-adds of whole vectors."""


def rates(cpu: str, isa: Isa) -> tuple[float, float]:
    """Whole vectors that a core loads in a cycle, and multiply-adds of vectors that it starts."""
    for family in FAMILIES:
        if cpu in family.cpus:
            loads, fmas = (each / isa.vector_bytes for each in (family.load_bytes, family.fma_bytes))
            return min(_MOST, loads), min(_MOST, fmas)
    return _MOST, _MOST


@dataclass(frozen=True)
class Speed:
    """What cores reach: their clock while they multiply vectors, in Hz, and the bandwidth to and from memory.

    The bandwidths are in bytes a second, of one core and of all of a socket's together.
    """

    clock_hz: float
    core_bandwidth: float
    socket_bandwidth: float


UNKNOWN_SPEED = Speed(3.0e9, 10e9, 20e9)
"""That of a slow server, which stands for CPUs that nobody measured."""

_SAPPHIRE = Speed(2.8e9, 11e9, 20e9)
SPEEDS = {"emeraldrapids": _SAPPHIRE, "sapphirerapids": _SAPPHIRE, "znver5": Speed(3.75e9, 20e9, 40e9)}
"""By LLVM's name of a CPU, measured on virtual machines of two cores: clocks as the peak of multiply-adds."""
