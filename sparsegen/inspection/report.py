"""What became of a model's weights, as frozen records, and its JSON (schema 1)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsegen.formats.registry import Statistics
    from sparsegen.graph import ApproximatedStep
    from sparsegen.target import Target

SCHEMA = 2
"""Of the JSON: 1 told structures in other words, `vectors of 4` for `vector:4`."""

PAYS = 1.05
"""Least expected speed-up that counts as one: below it, the estimate may as well be wrong."""

DENSE, WINOGRAD = "dense_panels", "winograd"
"""What the speed-ups are over: the faster of the two, where a layer may be of the second kind."""

SPARSE_WINOGRAD = "sparse_winograd"

FLOAT_BYTES = 4


@dataclass(frozen=True)
class LayerInspection:
    """One convolution or linear layer.

    `weight_shape` is [K, C / groups, kh, kw] or [out, in]; `kept` counts the weights that are not zero;
    `structure` is that of the zeros. `format` is the chosen one, "masked_panels", "dense_panels" or
    "column_combined"; "winograd" where minimal filtering is faster, "sparse_winograd" where that skips
    filters of zeros, or "masked_vectors" where a linear layer waits for its weights: these have no
    `statistics`; or else the dense kernel that serves the layer, "grouped" or "linear": then there are no
    `schedule`, no `statistics`, no `cycles` and no `estimates`.

    `packed_bytes` are those of all arrays that stand for the weights. `positions` are the places that
    every weight is multiplied at: output pixels or rows, of the whole batch. `cycles`, on each thread,
    are the analytic model's of the chosen schedule, `estimates` its least for each format that was
    considered, without permutation. `why` tells the reason of the choice.
    """

    name: str
    weight_shape: tuple[int, ...]
    kept: int
    structure: str
    format: str
    schedule: Mapping[str, int | str | bool]
    statistics: Statistics | None
    packed_bytes: int
    positions: int
    cycles: float | None
    estimates: Mapping[str, float]
    why: str

    @property
    def weights(self) -> int:
        """Weights, zeros too."""
        return math.prod(self.weight_shape)

    @property
    def density(self) -> float:
        """Share of the weights that are not zero."""
        return self.kept / self.weights

    @property
    def dense_bytes(self) -> int:
        """Bytes of the weights as torch keeps them."""
        return FLOAT_BYTES * self.weights

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds with every weight."""
        return self.positions * self.weights

    @property
    def multiply_adds_left(self) -> int:
        """Multiply-adds with the weights that are not zero: the fewest that a kernel could do."""
        return self.positions * self.kept

    @property
    def expected_speedup(self) -> float | None:
        """Estimated cycles of the best dense kernel over the chosen one's; None without an estimate."""
        return None if self.cycles is None else self.dense_cycles / self.cycles

    @property
    def dense_cycles(self) -> float:
        """Estimated cycles of the best dense kernel, of a layer with estimates."""
        return min(self.estimates[name] for name in (DENSE, WINOGRAD) if name in self.estimates)

    def seconds(self, target: Target) -> float | None:
        """Estimated seconds of the chosen schedule; None without an estimate."""
        return None if self.cycles is None else self.cycles / target.speed.clock_hz

    @property
    def pays(self) -> bool:
        """Whether the zeros are expected to make the layer faster."""
        return self.expected_speedup is not None and self.expected_speedup >= PAYS

    def as_dict(self) -> dict[str, Any]:
        """The layer's entry in the JSON; what does not apply is null."""
        statistics = self.statistics
        return {
            "name": self.name,
            "weight_shape": list(self.weight_shape),
            "weights": self.weights,
            "kept": self.kept,
            "density": self.density,
            "structure": self.structure,
            "format": self.format,
            "schedule": dict(self.schedule) or None,
            "masks": None if statistics is None else statistics.masks,
            "rows_per_vector": None if statistics is None else statistics.rows_per_vector,
            "padding": None if statistics is None else statistics.padding,
            "packed_bytes": self.packed_bytes,
            "dense_bytes": self.dense_bytes,
            "multiply_adds": self.multiply_adds,
            "multiply_adds_left": self.multiply_adds_left,
            "cycles": self.cycles,
            "estimates": dict(self.estimates) or None,
            "expected_speedup": self.expected_speedup,
            "pays": self.pays,
            "why": self.why,
        }


@dataclass(frozen=True)
class Totals:
    """All layers together; names as in `LayerInspection`.

    `expected_speedup` is of the `estimated_layers`, those with an estimate, run one after the other: the
    cycles of their best dense kernels over those of the chosen ones; None where there are none.
    `estimated_multiply_adds` are theirs.
    """

    weights: int
    kept: int
    packed_bytes: int
    dense_bytes: int
    multiply_adds: int
    multiply_adds_left: int
    expected_speedup: float | None
    estimated_layers: int
    estimated_multiply_adds: int


@dataclass(frozen=True)
class Inspection:
    """A model's layers with weights, in the order that they run.

    The estimates hold for `target`, whose caches are this machine's, at this `batch` and on so many
    `threads`. `torch_operators` are the calls of each operator that torch itself computes,
    `approximated` what becomes of functions that may be approximated, and in how many steps.
    """

    model: str
    target: Target
    batch: int
    threads: int
    layers: tuple[LayerInspection, ...]
    torch_operators: Mapping[str, int] = field(default_factory=dict)
    approximated: Mapping[ApproximatedStep, int] = field(default_factory=dict)

    @property
    def totals(self) -> Totals:
        """All layers together."""
        estimated = [layer for layer in self.layers if layer.cycles is not None]
        dense = math.fsum(layer.dense_cycles for layer in estimated)
        chosen = math.fsum(layer.cycles or 0.0 for layer in estimated)
        return Totals(
            weights=sum(layer.weights for layer in self.layers),
            kept=sum(layer.kept for layer in self.layers),
            packed_bytes=sum(layer.packed_bytes for layer in self.layers),
            dense_bytes=sum(layer.dense_bytes for layer in self.layers),
            multiply_adds=sum(layer.multiply_adds for layer in self.layers),
            multiply_adds_left=sum(layer.multiply_adds_left for layer in self.layers),
            expected_speedup=dense / chosen if estimated else None,
            estimated_layers=len(estimated),
            estimated_multiply_adds=sum(layer.multiply_adds for layer in estimated),
        )

    def as_dict(self) -> dict[str, Any]:
        """The inspection as JSON's own types, schema 2."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "target": {
                "name": self.target.name,
                "isa": self.target.isa,
                "lanes": self.target.lanes,
                "l1_bytes": self.target.l1_bytes,
                "l2_bytes": self.target.l2_bytes,
                **asdict(self.target.speed),
            },
            "batch": self.batch,
            "threads": self.threads,
            "measured": False,
            "layers": [{**layer.as_dict(), "seconds": layer.seconds(self.target)} for layer in self.layers],
            "totals": asdict(self.totals),
            "torch_operators": dict(self.torch_operators),
            "approximated": [{**asdict(told), "steps": count} for told, count in self.approximated.items()],
        }

    def to_json(self) -> str:
        """The inspection as JSON text, schema 1; cycles are estimated, on each thread."""
        return json.dumps(self.as_dict(), indent=2) + "\n"
