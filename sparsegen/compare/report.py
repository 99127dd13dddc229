"""What a comparison found, as frozen records, and its JSON (schema 5)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from statistics import geometric_mean
from typing import Any

from sparsegen.formats import SKIPPING

SCHEMA = 5

TOLERANCE = 1e-4
"""Largest error, relative to the largest reference value, that passes as correct."""

OURS = "sparsegen"
"""Our dense code, Winograd's too, among the dense rivals; every other name is a peer of torch's."""

ARTEFACT = "artefact"
"""A file of ours that was timed, too, among the spreads."""

_NAMES = {"grouped_conv": "grouped"}
"""Names of kernels that reports call otherwise."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Timing:
    """Times of one rival in milliseconds: the median, and the spread from the 10th to the 90th percentile."""

    median_ms: float
    p10_ms: float
    p90_ms: float

    @property
    def spread(self) -> float:
        """The 90th percentile over the 10th."""
        return self.p90_ms / self.p10_ms if self.p10_ms else 1.0


@dataclass(frozen=True)
class Race:
    """Our code, `sparse`, against its rivals, timed in turn.

    `dense` is by rival, our own dense code among them: where `sparse` is that very code, both have one
    timing; so are `csr`, products of CSR matrices, and `engines`, which may make what they
    can of the zeros: these are empty where none took part. `artefact` is a file of our code: no rival either.
    """

    sparse: Timing
    dense: dict[str, Timing]
    csr: dict[str, Timing] = field(default_factory=dict)
    engines: dict[str, Timing] = field(default_factory=dict)
    artefact: Timing | None = None

    @property
    def best_dense(self) -> str:
        """Name of the fastest dense rival, ours included."""
        return min(self.dense, key=lambda name: self.dense[name].median_ms)

    @property
    def best_torch(self) -> str:
        """Name of torch's fastest dense rival."""
        return min((name for name in self.dense if name != OURS), key=lambda name: self.dense[name].median_ms)

    @property
    def best_rival(self) -> str:
        """Name of the fastest of torch's rivals and the engines: of all that is not ours."""
        others = {name: timing for name, timing in self._whole.items() if name != OURS}
        return min(others, key=lambda name: others[name].median_ms)

    @property
    def speedup(self) -> float:
        """What the zeros buy: time of the best dense rival over ours."""
        return self.over(self.best_dense)

    @property
    def speedup_over_torch(self) -> float:
        """What sparsegen buys: time of the best of torch's dense rivals over ours."""
        return self.over(self.best_torch)

    def over(self, rival: str) -> float:
        """Time of one dense rival or engine over ours."""
        return self._whole[rival].median_ms / self.sparse.median_ms

    @property
    def _whole(self) -> dict[str, Timing]:
        return {**self.dense, **self.engines}

    @property
    def speedup_over_csr(self) -> float | None:
        """Time of the best CSR product over ours; None where none took part."""
        best = min((timing.median_ms for timing in self.csr.values()), default=None)
        return None if best is None else best / self.sparse.median_ms

    def spread(self) -> dict[str, list[float]]:
        """The 10th and 90th percentile of every rival and of `sparse`, in milliseconds."""
        timings = {"sparse": self.sparse, **self.dense, **self.csr, **self.engines}
        if self.artefact is not None:
            timings[ARTEFACT] = self.artefact
        return {name: [timing.p10_ms, timing.p90_ms] for name, timing in timings.items()}


@dataclass(frozen=True)
class Accuracy:
    """Largest difference from torch in float64: absolute, and relative to the largest reference value."""

    max_abs_error: float
    relative_error: float

    @property
    def passes(self) -> bool:
        """Whether the relative error is within the tolerance; a NaN never is."""
        return self.relative_error <= TOLERANCE


@dataclass(frozen=True)
class LayerComparison:
    """One pruned convolution on its own.

    `weight_shape` is [K, C / groups, kh, kw], `input_shape` [N, C, H, W]; `density` is the share of
    weights that are not zero. `gflops` counts the multiply-adds with those weights only, two
    operations each, in 1e9 a second; `peak_fraction` is its share of the measured FMA peak.
    `kernel`, `format` and `schedule_source` are as of `LayerReport`; `csr_accuracy` is by CSR rival.
    """

    name: str
    weight_shape: Shape
    input_shape: Shape
    density: float
    kernel: str
    format: str
    schedule: dict[str, int | str | bool]
    schedule_source: str
    race: Race
    gflops: float
    peak_fraction: float
    accuracy: Accuracy
    csr_accuracy: dict[str, Accuracy] = field(default_factory=dict)

    @property
    def implementation(self) -> str:
        """Name of the kernel: "panels", "winograd", "grouped", ..."""
        return _NAMES.get(self.kernel, self.kernel)

    @property
    def sparse(self) -> bool:
        """Whether the kernel skips zeros."""
        return self.format in SKIPPING

    def as_dict(self) -> dict[str, Any]:
        """The layer's entry in the JSON; what concerns CSR is null where no such rival took part."""
        csr_ms = {name: timing.median_ms for name, timing in self.race.csr.items()}
        csr_absolute = {name: found.max_abs_error for name, found in self.csr_accuracy.items()}
        csr_relative = {name: found.relative_error for name, found in self.csr_accuracy.items()}
        return {
            "name": self.name,
            "weight_shape": list(self.weight_shape),
            "input_shape": list(self.input_shape),
            "density": self.density,
            "kernel": self.kernel,
            "implementation": self.implementation,
            "sparse": self.sparse,
            "format": self.format,
            "schedule": self.schedule,
            "schedule_source": self.schedule_source,
            **_race_as_dict(self.race),
            "csr_ms": csr_ms or None,
            "csr_max_abs_error": csr_absolute or None,
            "csr_relative_error": csr_relative or None,
            "speedup_over_csr": self.race.speedup_over_csr,
            "gflops": self.gflops,
            "peak_fraction": self.peak_fraction,
            **_accuracy_as_dict(self.accuracy),
        }


@dataclass(frozen=True)
class TorchPart:
    """What torch computes of our network: calls by operator, and their `share` of a call's time."""

    calls: dict[str, int]
    share: float


@dataclass(frozen=True)
class ArtefactPart:
    """A file that took part: the CPU that its code is for, and how exact its result is."""

    path: str
    target: str
    accuracy: Accuracy


@dataclass(frozen=True)
class NetworkComparison:
    """The whole network. `absent` tells, by name, why a rival could not take part.

    `engines` are the versions of the engines that did, by name; `argmax_agreement` is the share of the
    outputs' rows whose largest element is torch's; `peak_bytes` is the planned activation memory,
    `live_bytes` the largest live set within it. `torch` is what torch computes of it, where it does;
    `artefact` the file that was timed too, where there was one.
    """

    race: Race
    absent: dict[str, str]
    accuracy: Accuracy
    argmax_agreement: float
    peak_bytes: int
    live_bytes: int
    engines: dict[str, str] = field(default_factory=dict)
    torch: TorchPart | None = None
    artefact: ArtefactPart | None = None

    def as_dict(self) -> dict[str, Any]:
        """The JSON's `end_to_end`; an absent rival's time is null, what concerns engines without any too."""
        race = _race_as_dict(self.race)
        race["dense_ms"] |= dict.fromkeys(self.absent)
        engines_ms = {name: timing.median_ms for name, timing in self.race.engines.items()}
        return {
            **race,
            "engines_ms": engines_ms or None,
            "engines_version": self.engines or None,
            "best_rival": self.race.best_rival,
            "speedup_over_rival": self.race.over(self.race.best_rival),
            "absent": self.absent,
            **_accuracy_as_dict(self.accuracy),
            "argmax_agreement": self.argmax_agreement,
            "peak_bytes": self.peak_bytes,
            "live_bytes": self.live_bytes,
            "torch": None if self.torch is None else asdict(self.torch),
            **self._artefact_as_dict(),
        }

    def _artefact_as_dict(self) -> dict[str, Any]:
        if self.artefact is None or self.race.artefact is None:
            return {"artefact_ms": None, "artefact": None}
        told = {"path": self.artefact.path, "target": self.artefact.target}
        return {
            "artefact_ms": self.race.artefact.median_ms,
            "artefact": {**told, **_accuracy_as_dict(self.artefact.accuracy)},
        }


@dataclass(frozen=True)
class Machine:
    """Where the numbers come from.

    `cores` are those that the process may use; caches are a core's, in bytes; `governor` is None
    where the system does not tell; `fma_peak_gflops` is measured, on the comparison's threads.
    """

    cpu: str
    cores: int
    target: str
    isa: str
    lanes: int
    l1_bytes: int
    l2_bytes: int
    governor: str | None
    fma_peak_gflops: float
    python: str
    torch: str
    tvm: str


@dataclass(frozen=True)
class Comparison:
    """A pruned model against its rivals: every layer, then the whole network.

    `structure` is the canonical text of the pruned structure, `sparsity` the share of weights asked for;
    the layers, where any were timed, have their own densities. `samples` is the number of times behind
    every median; `compile_seconds` what the sparse network took to compile. It and `end_to_end` are None
    where only layers were timed. `warnings` tell what makes the times doubtful.
    """

    machine: Machine
    model: str
    batch: int
    threads: int
    sparsity: float
    structure: str
    samples: int
    compile_seconds: float | None
    layers: tuple[LayerComparison, ...]
    end_to_end: NetworkComparison | None
    warnings: tuple[str, ...] = ()

    @property
    def geomean_speedup(self) -> float | None:
        """Geometric mean of the layers' speed-ups over their best dense rivals; None without layers."""
        return geometric_mean(layer.race.speedup for layer in self.layers) if self.layers else None

    @property
    def geomean_speedup_over_torch(self) -> float | None:
        """Geometric mean of the layers' speed-ups over the best of torch; None without layers."""
        if not self.layers:
            return None
        return geometric_mean(layer.race.speedup_over_torch for layer in self.layers)

    @property
    def sparse_layers(self) -> int:
        """Layers whose kernels skip zeros; all others were faster dense."""
        return sum(layer.sparse for layer in self.layers)

    @property
    def min_speedup(self) -> float | None:
        """The least of the layers' speed-ups over their best dense rivals; None without layers."""
        return min((layer.race.speedup for layer in self.layers), default=None)

    @property
    def geomean_speedup_over_csr(self) -> float | None:
        """Geometric mean of the layers' speed-ups over the best CSR product; None where none took part."""
        speedups = [layer.race.speedup_over_csr for layer in self.layers]
        taken = [each for each in speedups if each is not None]
        return geometric_mean(taken) if taken else None

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON's own types, schema 4."""
        return {
            "schema": SCHEMA,
            "machine": asdict(self.machine),
            "model": self.model,
            "batch": self.batch,
            "threads": self.threads,
            "sparsity": self.sparsity,
            "structure": self.structure,
            "samples": self.samples,
            "compile_seconds": self.compile_seconds,
            "layers": [layer.as_dict() for layer in self.layers],
            "end_to_end": None if self.end_to_end is None else self.end_to_end.as_dict(),
            "warnings": list(self.warnings),
            "summary": {
                "geomean_speedup": self.geomean_speedup,
                "min_speedup": self.min_speedup,
                "geomean_speedup_over_torch": self.geomean_speedup_over_torch,
                "sparse_layers": self.sparse_layers,
                "geomean_speedup_over_csr": self.geomean_speedup_over_csr,
            },
        }

    def to_json(self) -> str:
        """The comparison as JSON text, schema 4; times in milliseconds, spreads as [p10, p90]."""
        return json.dumps(self.as_dict(), indent=2) + "\n"


def _race_as_dict(race: Race) -> dict[str, Any]:
    return {
        "sparse_ms": race.sparse.median_ms,
        "dense_ms": {name: timing.median_ms for name, timing in race.dense.items()},
        "spread_ms": race.spread(),
        "best_dense": race.best_dense,
        "speedup": race.speedup,
        "best_torch": race.best_torch,
        "speedup_over_torch": race.speedup_over_torch,
    }


def _accuracy_as_dict(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "max_abs_error": accuracy.max_abs_error,
        "relative_error": accuracy.relative_error,
        "accurate": accuracy.passes,
    }
