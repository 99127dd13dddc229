"""Files of devices: TOML that names the devices of a machine, and the links between them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sparsegen.devices.machine import Device, Link, Machine, connect, with_host
from sparsegen.devices.registry import check_present, make_device
from sparsegen.devices.section import Section, read_toml
from sparsegen.errors import DeviceError
from sparsegen.typed import typed


@typed
def load_devices(path: str | os.PathLike[str], *, present: bool = True) -> Machine:
    """The machine that a TOML file describes.

    A [[device]] has a name, a kind (cpu, cuda, profile, host, or one of an installed package) and that kind's
    settings: `cores = [0, 1]`, `index = 0`, `table = "edgetpu-usb3"`. A [[link]] has `from`, `to`, `latency`
    ("12 us"), `bandwidth` ("450 MB/s"), and may have `exclusive` and `one_way`; without that it is both
    ways, and an exclusive one is the bus of its end that is not the host. `host` names the device that others
    are connected to; by default it is that of `with_host`, which adds one where all have a link of their own.
    Numbers have their unit beside them.

    Unless `present` is false, all devices have to be on this machine; those of tables are anywhere.

    Raises DeviceError for a file that cannot be read, for unknown keys, kinds, tables and units, for numbers
    that cannot be, and for cores that two devices share or this process may not run on.
    """
    content = read_toml(Path(path), "a file of devices")
    parts = content.sections("device")
    if not parts:
        raise DeviceError(f"{path} has no devices: add a [[device]] with a name and a kind")
    devices = tuple(_device(part) for part in parts)
    _check_apart(devices, content.where)
    devices, host = (devices, content.text("host")) if "host" in content else with_host(devices)
    names = [device.name for device in devices]
    if host not in names:
        raise DeviceError(
            f"{path}: host is {host!r}, and there is no such device: there are {', '.join(names)}"
        )
    links = [link for part in content.sections("link") for link in _links(part, names, host)]
    _check_once(links, content.where)
    content.finish("host, [[device]], [[link]]")
    if present:
        check_present(devices)
    return connect(devices, links, host)


def has_devices(path: str | os.PathLike[str]) -> bool:
    """Whether a TOML file describes a machine, and not a table. Raises DeviceError if it cannot be read."""
    return "device" in read_toml(Path(path), "a file of devices, or a table")


def _device(part: Section) -> Device:
    name, kind = part.text("name"), part.text("kind")
    settings = {key: value for key, value in part.content.items() if key not in ("name", "kind")}
    return make_device(name, kind, settings, part.folder)


def _links(part: Section, names: Sequence[str], host: str) -> list[Link]:
    source, target = part.text("from"), part.text("to")
    for name in (source, target):
        if name not in names:
            raise DeviceError(f"{part.where}: there is no device {name!r}: there are {', '.join(names)}")
    if source == target:
        raise DeviceError(f"{part.where} connects {source!r} to itself: name two devices")
    link = Link(
        source,
        target,
        part.figure("latency", "time", above=False).value,
        part.figure("bandwidth", "bandwidth").value,
        part.flag("exclusive"),
    )
    one_way = part.flag("one_way")
    part.finish()
    if one_way:
        return [link]
    if link.exclusive:
        link = replace(link, exclusive=False, buses=(source if target == host else target,))
    return [link, replace(link, source=target, target=source)]


def _check_apart(devices: Sequence[Device], where: str) -> None:
    """Raise DeviceError for names that are there twice, and for cores that two devices share."""
    names = [device.name for device in devices]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DeviceError(
            f"{where} has more than one device called {twice[0]!r}: every name can be there once"
        )
    owners: dict[int, str] = {}
    for device in devices:
        for core in device.cores:
            if core in owners:
                raise DeviceError(
                    f"{where}: devices {owners[core]!r} and {device.name!r} overlap: both have core {core}"
                )
            owners[core] = device.name


def _check_once(links: Sequence[Link], where: str) -> None:
    pairs = [(link.source, link.target) for link in links]
    for source, target in pairs:
        if pairs.count((source, target)) > 1:
            raise DeviceError(
                f"{where} has more than one link from {source!r} to {target!r}: a [[link]] is both ways "
                "unless one_way = true"
            )
