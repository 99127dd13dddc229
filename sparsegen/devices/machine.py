"""Devices, and the links between them: a machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sparsegen.devices.profile import OwnLink, Profile
from sparsegen.errors import DeviceError
from sparsegen.typed import typed

HOST = "host"
"""The kind of a device that holds inputs and results, and computes nothing; and the name of one that goes
without saying."""


@dataclass(frozen=True)
class Device:
    """Something that operators run on, or the host of such.

    kind: cpu, cuda, profile, host, or one that a package registers. settings: plain data that a device of
    that kind is made of again, see `make_device`. cores: of a cpu, which its threads are pinned to. index: of
    a cuda. profile: its table. link: to the host, where a machine names none.
    """

    name: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    cores: tuple[int, ...] = ()
    index: int | None = None
    profile: Profile | None = None
    link: OwnLink | None = None


@dataclass(frozen=True)
class Link:
    """What connects a device to another, in one direction.

    latency in seconds, bandwidth in bytes a second. `exclusive`: one transfer at a time. buses: devices on
    whose bus it is: there is one transfer at a time on a bus, of whatever link, in whatever direction. via:
    the host, where it is two links in a row; "" otherwise.
    """

    source: str
    target: str
    latency: float
    bandwidth: float
    exclusive: bool = False
    via: str = ""
    buses: tuple[str, ...] = ()

    def seconds(self, size: int) -> float:
        """Time of a transfer of so many bytes."""
        return self.latency + size / self.bandwidth


@dataclass(frozen=True)
class Machine:
    """Devices by name, and the links between them, each in one direction.

    `host` is the device that the others are connected to: what has a link of its own has it to the host. A
    model's inputs and results lie there.
    """

    devices: tuple[Device, ...]
    links: tuple[Link, ...]
    host: str

    @property
    def computing(self) -> tuple[Device, ...]:
        """The devices without a host that computes nothing."""
        return tuple(device for device in self.devices if device.kind != HOST)

    def device(self, name: str) -> Device:
        """The device of a name. Raises DeviceError where there is none."""
        for device in self.devices:
            if device.name == name:
                return device
        raise DeviceError(f"there is no device {name!r}: there are {self._names()}")

    def link(self, source: str, target: str) -> Link | None:
        """The link of two devices, None where there is none."""
        for link in self.links:
            if (link.source, link.target) == (source, target):
                return link
        return None

    def way(self, source: str, target: str) -> Link:
        """The link of two devices, or the way through the host, as one link; see `through`.

        Raises DeviceError where there is neither.
        """
        found = self.link(source, target) or self._through_host(source, target)
        if found is None:
            raise DeviceError(
                f"there is no link from {source!r} to {target!r}, and none through the host {self.host!r}: "
                "add a [[link]]"
            )
        return found

    def ways(self) -> tuple[Link, ...]:
        """The ways between all devices that have one: links, and those through the host."""
        names = [device.name for device in self.devices]
        pairs = ((source, target) for source in names for target in names if source != target)
        found = (self.link(*pair) or self._through_host(*pair) for pair in pairs)
        return tuple(way for way in found if way is not None)

    def stream_bandwidth(self, name: str) -> float:
        """Bytes a second at which weights come from the host. Raises DeviceError without a link."""
        return self.way(self.host, name).bandwidth

    def _through_host(self, source: str, target: str) -> Link | None:
        first, second = self.link(source, self.host), self.link(self.host, target)
        return None if first is None or second is None else through(first, second)

    def _names(self) -> str:
        return ", ".join(device.name for device in self.devices)


def through(first: Link, second: Link) -> Link:
    """Two links in a row, as one: a result arrives whole before it is handed on.

    Latencies and times add up. It is on the buses of both all the time, and exclusive where one of the two
    is; that an exclusive one is busy for others meanwhile it does not tell.
    """
    bandwidth = 1 / (1 / first.bandwidth + 1 / second.bandwidth)
    exclusive = first.exclusive or second.exclusive
    return Link(
        first.source,
        second.target,
        first.latency + second.latency,
        bandwidth,
        exclusive,
        via=first.target,
        buses=tuple(dict.fromkeys((*first.buses, *second.buses))),
    )


@typed
def with_host(devices: Sequence[Device]) -> tuple[tuple[Device, ...], str]:
    """Devices, and which of them is the host, where nobody says.

    It is one of the kind "host", else the first without a link of its own. Where all have one, they hang on a
    host that is not among them: it is added, computes nothing, and is called "host".
    """
    for device in sorted(devices, key=lambda each: each.kind != HOST):
        if device.link is None:
            return tuple(devices), device.name
    name, names = HOST, {device.name for device in devices}
    while name in names:
        name += "'"
    return (*devices, Device(name, HOST)), name


SHARED_MEMORY = (10e-6, 10e9)
"""Latency and bandwidth between core sets of one machine, recalled: a thread is woken, caches are read."""


@typed
def connect(devices: Iterable[Device], links: Iterable[Link], host: str) -> Machine:
    """A machine of devices, with the links given and those that go without saying.

    A device with a link of its own has it to the host, both ways, where no link between the two is given;
    core sets have one to each other, through memory.
    """
    known = {(link.source, link.target): link for link in links}
    together = tuple(devices)
    for device in together:
        if device.link is not None and device.name != host:
            for link in _both_ways(device.name, host, device.link):
                known.setdefault((link.source, link.target), link)
    cores = [device.name for device in together if device.kind == "cpu"]
    for source in cores:
        for target in cores:
            if source != target:
                known.setdefault((source, target), Link(source, target, *SHARED_MEMORY))
    return Machine(together, tuple(known.values()), host)


def _both_ways(name: str, host: str, own: OwnLink) -> tuple[Link, Link]:
    buses = (name,) if own.exclusive else ()
    there = Link(name, host, own.latency.value, own.bandwidth.value, buses=buses)
    return there, replace(there, source=host, target=name)
