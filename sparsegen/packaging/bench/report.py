"""What a measurement of a file found, as frozen records, and its JSON (schema 1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sparsegen.packaging.bench.instance import WARM_UP_SECONDS, Ready, Times
from sparsegen.packaging.bench.memory import Memory

SCHEMA = 1


@dataclass(frozen=True)
class Latency:
    """Milliseconds of a call: percentiles, and the longest."""

    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True)
class InstanceResult:
    """What one instance did on its `cores`: `calls` in `seconds`, after calls that warmed it up."""

    cores: tuple[int, ...]
    warm_up_calls: int
    calls: int
    seconds: float
    latency_ms: Latency
    memory: Memory | None

    @property
    def calls_per_second(self) -> float:
        """Its throughput."""
        return self.calls / self.seconds


@dataclass(frozen=True)
class Machine:
    """Where it was measured: `cores` are those that the process may use; `load` is before, of 1, 5, 15 min.

    `governor` is None where the system does not tell.
    """

    cpu: str
    cores: int
    governor: str | None
    load: tuple[float, ...]
    python: str
    numpy: str


@dataclass(frozen=True)
class BenchReport:
    """A file, measured: the variant that ran, every instance, and all together.

    `threads` are those of each instance, `compiled_threads` those that the variant was compiled for; `batch`
    is None where the inputs have no extent in common. `seconds` are those asked for.
    """

    path: str
    target: str
    batch: int | None
    threads: int
    compiled_threads: int
    input_shapes: tuple[tuple[int, ...], ...]
    seconds: float
    machine: Machine
    instances: tuple[InstanceResult, ...]
    latency_ms: Latency
    warnings: tuple[str, ...] = ()

    @property
    def calls_per_second(self) -> float:
        """Calls of all instances, until the last one ended."""
        return sum(each.calls for each in self.instances) / max(each.seconds for each in self.instances)

    @property
    def first_bytes(self) -> int | None:
        """Memory of an instance that is alone: what others would share with it is in it, too."""
        return max((each.memory.rss for each in self.instances if each.memory), default=None)

    @property
    def further_bytes(self) -> int | None:
        """Memory that each further instance adds: what is its own."""
        return max((each.memory.own for each in self.instances if each.memory), default=None)

    def to_json(self) -> str:
        """The report as JSON text, schema 1; times in ms but where seconds are named, memory in bytes."""
        told = asdict(self)
        for each, result in zip(told["instances"], self.instances, strict=True):
            each["calls_per_second"] = result.calls_per_second
        told |= {
            "schema": SCHEMA,
            "warm_up_seconds": WARM_UP_SECONDS,
            "calls_per_second": self.calls_per_second,
            "memory": {"first": self.first_bytes, "further": self.further_bytes},
        }
        return json.dumps(told, indent=2) + "\n"


def instance_result(cores: Sequence[int], ready: Ready, times: Times) -> InstanceResult:
    """The result of an instance, of what it answered."""
    return InstanceResult(
        cores=tuple(cores),
        warm_up_calls=ready.warm_up_calls,
        calls=times.calls,
        seconds=times.seconds,
        latency_ms=latency([times]),
        memory=ready.memory,
    )


def latency(all_times: Sequence[Times]) -> Latency:
    """Percentiles of the calls of instances together: of as large a share of each one's."""
    stride = max(times.stride for times in all_times)
    seconds = np.concatenate([times.kept[:: stride // times.stride] for times in all_times])
    median, ninetieth, most = (float(each) for each in 1e3 * np.percentile(seconds, (50, 90, 99)))
    return Latency(median, ninetieth, most, 1e3 * max(times.longest for times in all_times))
