"""A profile: a device as a table of figures, from which times follow without the device.

An operator takes

    seconds = overhead + max(work / (rate * u), bytes / bandwidth)

where `work` is its multiply-adds, or its bytes where the rate of its kind is in bytes a second; `bytes` are
those of its inputs, its result and its weights, in the device's own type of elements; and u is the part of
the device that it fills. The device runs one operator at a time, or several where somebody asks for it: what
runs at once then progresses at

    min(1, capacity / sum of u)

of the speed that it has alone. A program's start takes the invocation's overhead; weights beyond the cache
cross the link in every run, where they are `streamed`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sparsegen.devices.figures import Figure
from sparsegen.graph import ITEM_BYTES

OTHER = "other"
"""The kind whose rate stands for kinds without one of their own."""


@dataclass(frozen=True)
class OwnLink:
    """What connects a device to its host, both ways. `exclusive`: it is a bus, with one transfer at a time.

    The bus is the device's: the two directions share it, and so do transfers with whatever other device.
    """

    latency: Figure
    bandwidth: Figure
    exclusive: bool = False


COUNTS = {
    "dimensions": "dimensions above 1",
    "softmax": "softmax over",
    "rank": "dimensions",
    "extent": "extent of a dimension",
    "batch": "images at once",
    "channels": "channels of an image",
    "stride": "stride",
    "dilation": "dilation",
    "padding": "padding of a side",
    "kernel": "convolution's kernel, dilated, a side",
    "kernel_height": "convolution's kernel, dilated, height",
    "kernel_area": "convolution's kernel, dilated, height by width",
    "pool": "pooling window, a side",
    "pool_height": "pooling window, height",
    "pool_area": "pooling window, height by width",
    "padded_average": "average pooling window with padding, a side",
}
"""Limits that are numbers, and what they bound."""

FLAGS = {
    "constant_weights": "weights have to be constant",
    "same_dilation": "dilations have to be the same in x and y",
    "unit_steps": "slices have to have step 1",
    "one_direction": "LSTMs have to run forwards",
    "even_padding": "padding has to be as much before as after",
    "equal_windows": "adaptive pooling has to have equal windows",
}
"""Limits that are either there or not, and what they ask for."""


@dataclass(frozen=True)
class Limits:
    """Which operators a device runs.

    operators: their names, and those of steps, see `operators`; None for all. `FLAGS` tell what is asked for;
    constant weights refuse products of two values. `COUNTS` are the most of each that it takes, None for any.
    Types of elements are those that have rates.
    """

    operators: frozenset[str] | None = None
    constant_weights: bool = False
    same_dilation: bool = False
    unit_steps: bool = False
    one_direction: bool = False
    even_padding: bool = False
    equal_windows: bool = False
    dimensions: Figure | None = None
    softmax: Figure | None = None
    rank: Figure | None = None
    extent: Figure | None = None
    batch: Figure | None = None
    channels: Figure | None = None
    stride: Figure | None = None
    dilation: Figure | None = None
    padding: Figure | None = None
    kernel: Figure | None = None
    kernel_height: Figure | None = None
    kernel_area: Figure | None = None
    pool: Figure | None = None
    pool_height: Figure | None = None
    pool_area: Figure | None = None
    padded_average: Figure | None = None
    source: str = ""


@dataclass(frozen=True)
class Profile:
    """A device's table; figures are in seconds, bytes, bytes a second, multiply-adds a second.

    dtype: what the device computes in, unless somebody asks for another type that has `rates`; these are by
    type and kind of operator. bandwidth: of its memory, None where the rates tell all. memory: bytes that
    weights may take at all; cache: those that stay between two runs. `streamed`: the rest crosses the link in
    every run. elements: of a result that fill the device; share: of the device that operators of a kind
    fill, in place of that. Where both are missing an operator fills it.
    """

    name: str
    title: str
    dtype: str
    rates: Mapping[str, Mapping[str, Figure]]
    operator_overhead: Figure
    invocation_overhead: Figure
    bandwidth: Figure | None = None
    memory: Figure | None = None
    cache: Figure | None = None
    streamed: bool = False
    link: OwnLink | None = None
    limits: Limits = Limits()
    capacity: Figure | None = None
    elements: Figure | None = None
    share: Mapping[str, Figure] = field(default_factory=dict)

    def rate(self, kind: str, dtype: str) -> Figure | None:
        """The rate of a kind of operator in a type, or of `OTHER`s; None where the type has none."""
        rates = self.rates.get(dtype, {})
        return rates.get(kind) or rates.get(OTHER)

    def item_bytes(self, dtype: str | None = None) -> int:
        """Bytes of an element there."""
        return ITEM_BYTES[dtype or self.dtype]

    def streamed_bytes(self, weights: int) -> int:
        """Bytes that cross the link in every run, of a program with so many bytes of weights."""
        if not self.streamed or self.cache is None:
            return 0
        return max(0, weights - int(self.cache.value))

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Every number of the table, by what it is."""
        for dtype, rates in self.rates.items():
            yield from ((f"rate, {dtype}, {kind}", rate) for kind, rate in rates.items())
        yield "overhead of an operator", self.operator_overhead
        yield "overhead of an invocation", self.invocation_overhead
        named: dict[str, Figure | None] = {"memory bandwidth": self.bandwidth, "memory": self.memory}
        named["weight cache"] = self.cache
        if self.link is not None:
            named |= {"link, latency": self.link.latency, "link, bandwidth": self.link.bandwidth}
        named |= {"capacity": self.capacity, "elements that fill it": self.elements}
        named |= {f"share of it, {kind}": share for kind, share in self.share.items()}
        named |= {f"{what}, at most": getattr(self.limits, name) for name, what in COUNTS.items()}
        yield from ((name, figure) for name, figure in named.items() if figure is not None)
