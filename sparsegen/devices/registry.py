"""Which kinds of devices there are: sparsegen's own, and those of installed packages.

A package adds kinds by an entry point of the group `sparsegen.devices` that, called, gives an iterable of
`DeviceKind`s.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from sparsegen.devices.cost import Estimate
from sparsegen.devices.kind import DeviceKind
from sparsegen.devices.machine import Device
from sparsegen.devices.operators import Operator
from sparsegen.devices.own_kinds import Cores, Cuda, Host, Profiled
from sparsegen.devices.section import Section
from sparsegen.errors import DeviceError, SparsegenError, ToolchainError, first_line
from sparsegen.typed import typed

_KINDS: dict[str, DeviceKind] = {kind.name: kind for kind in (Cores(), Cuda(), Profiled(), Host())}
_ENTRY_POINTS = "sparsegen.devices"


@typed
def register(kind: DeviceKind) -> None:
    """Add a kind of device. Raises DeviceError where it has no name, or another has it."""
    _check(kind, kinds())
    _KINDS[kind.name] = kind


def kinds() -> dict[str, DeviceKind]:
    """All kinds, by name: ours, and those of installed packages.

    Raises ToolchainError for a package whose kinds cannot be registered.
    """
    return {**_KINDS, **_installed()}


@typed
def kind_of(device: Device) -> DeviceKind:
    """The kind of a device. Raises DeviceError where it is not installed here."""
    return _kind(device.kind, f"device {device.name!r}")


@typed
def make_device(name: str, kind: str, settings: Mapping[str, Any], folder: Path = Path()) -> Device:
    """The device of a kind and settings, such as those of another device; paths start from `folder`.

    Raises DeviceError for an unknown kind, and for settings that cannot be.
    """
    section = Section(f"device {name!r}", settings, folder)
    maker = _kind(kind, section.where)
    try:
        device = maker.make(name, section)
    except SparsegenError:
        raise
    except Exception as error:  # another package's, of any type
        raise DeviceError(
            f"{section.where}: its kind {kind!r} cannot make it: {type(error).__name__}: "
            f"{first_line(error)}; mend its settings, or that kind's package"
        ) from error
    section.finish()
    return device


@typed
def cost_on(device: Device, operator: Operator, dtype: str | None = None) -> Estimate | None:
    """What an operator costs on a device, or why it does not run there; None where it has to be measured."""
    return kind_of(device).estimate(device, operator, dtype)


@typed
def check_present(devices: Iterable[Device]) -> None:
    """Raise DeviceError for the first device that this machine does not have."""
    for device in devices:
        missing = kind_of(device).missing(device)
        if missing:
            raise DeviceError(f"device {device.name!r}: {missing}")


def _kind(name: str, where: str) -> DeviceKind:
    known = kinds()
    if name not in known:
        raise DeviceError(f"{where}: there is no kind {name!r} of device: there are {', '.join(known)}")
    return known[name]


@functools.cache
def _installed() -> Mapping[str, DeviceKind]:
    """Those of installed packages. Raises ToolchainError for one that fails; then there are none of any."""
    found: dict[str, DeviceKind] = {}
    for point in metadata.entry_points(group=_ENTRY_POINTS):
        try:
            for kind in point.load()():
                _check(kind, {**_KINDS, **found})
                found[kind.name] = kind
        except Exception as error:
            raise ToolchainError(
                f"the kinds of devices of {point.value} (entry point {point.name!r} of {_ENTRY_POINTS}) "
                f"cannot be registered: {first_line(error)}; mend or uninstall that package"
            ) from error
    return found


def _check(kind: DeviceKind, known: Mapping[str, DeviceKind]) -> None:
    if not isinstance(kind, DeviceKind) or not isinstance(getattr(kind, "name", None), str):
        raise DeviceError(f"{kind!r} is no DeviceKind with a name")
    if kind.name in known:
        raise DeviceError(f"there is a kind of device called {kind.name!r}: give this one another name")
