"""Kinds of devices: ours, those that a program registers, and those of installed packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparsegen.devices import (
    Device,
    DeviceKind,
    Estimate,
    Operator,
    Section,
    cost_on,
    kind_of,
    kinds,
    make_device,
    registry,
)
from sparsegen.devices import register as register_kind
from sparsegen.errors import DeviceError, ToolchainError
from tests.preloaded import run

TOY = """
from sparsegen.devices import Device, DeviceKind, Estimate

class Abacus(DeviceKind):
    name = "abacus"

    def make(self, name, settings):
        return Device(name, self.name, {"beads": settings.whole("beads")})

    def estimate(self, device, operator, dtype=None):
        if operator.kind != "linear":
            return Estimate(float("inf"), 0, 0, 0, reason="it only adds")
        return Estimate(operator.multiply_adds / device.settings["beads"], 0, 0, 0)

    def runner(self, device, operator, example):
        return lambda *inputs: operator(*inputs)

def device_kinds():
    yield Abacus()
"""
TWICE = TOY.replace("    yield Abacus()\n", "    yield Abacus()\n    yield Abacus()\n")
USE = """
import sys
from sparsegen.devices import Operator, cost_on, kinds, load_devices
machine = load_devices(sys.argv[1])
(device,) = machine.devices
print(sorted(kinds()), cost_on(device, Operator("linear", "linear", 500, 1, 1)).seconds)
print(cost_on(device, Operator("conv", "conv", 500, 1, 1)).reason, machine.host)
"""
FILE = '[[device]]\nname = "toy"\nkind = "abacus"\nbeads = 100\n'


def installed(folder: Path, source: str) -> Path:
    """A package that registers kinds, as pip would leave it in a folder."""
    (folder / "toy_devices.py").write_text(source)
    about = folder / "toy_devices-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-devices\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[sparsegen.devices]\ntoy = toy_devices:device_kinds\n")
    return folder


@pytest.fixture
def fresh() -> Iterator[None]:
    """What installed packages have is looked for again, before and after."""
    registry._installed.cache_clear()
    yield
    registry._installed.cache_clear()


def test_an_installed_package_registers_a_kind(tmp_path: Path) -> None:
    (tmp_path / "devices.toml").write_text(FILE)
    there = f"import sys\nsys.path.insert(0, {str(installed(tmp_path, TOY))!r})\n"
    done = run("-c", there + USE, str(tmp_path / "devices.toml"))
    assert done.stdout == "['abacus', 'cpu', 'cuda', 'host', 'profile'] 5.0\nit only adds toy\n", done.stderr


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("def device_kinds():\n    raise ValueError('no luck')", "no luck"),
        ("device_kinds = 3", "'int' object is not callable"),
        ("def device_kinds():\n    yield 3", "3 is no DeviceKind with a name"),
        (TOY.replace('    name = "abacus"\n', ""), "is no DeviceKind with a name"),
        (TOY.replace('"abacus"', '"cpu"'), "there is a kind of device called 'cpu'"),
        (TWICE, "there is a kind of device called 'abacus'"),
    ],
)
@pytest.mark.usefixtures("fresh")
def test_a_package_that_fails(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed(tmp_path, source))
    monkeypatch.delitem(sys.modules, "toy_devices", raising=False)
    before = dict(registry._KINDS)
    for _ in range(2):
        with pytest.raises(ToolchainError, match=rf"toy_devices:device_kinds \(entry point 'toy'.*{reason}"):
            kinds()
    assert before == registry._KINDS


class Slide(DeviceKind):
    """Has nothing but a name: what operators cost there is measured."""

    name = "slide rule"

    def make(self, name: str, settings: Section) -> Device:
        return Device(name, self.name)


def test_a_program_registers_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_KINDS", dict(registry._KINDS))
    register_kind(Slide())
    device = make_device("mine", "slide rule", {})
    assert cost_on(device, Operator("conv", "conv", 1, 1, 1)) is None
    assert kind_of(device).missing(device) == ""
    double = kind_of(device).runner(device, lambda x: 2 * x, (3,))
    assert double(4) == 8
    with pytest.raises(DeviceError, match="there is a kind of device called 'slide rule'"):
        register_kind(Slide())
    with pytest.raises(DeviceError, match="device 'mine' has the unknown key 'length'"):
        make_device("mine", "slide rule", {"length": 3})


def test_ours() -> None:
    assert list(kinds())[:3] == ["cpu", "cuda", "profile"]
    conv = Operator("conv", "conv", 4_100_000_000, 1, 1)
    found = cost_on(make_device("arm", "profile", {"table": "arm-a53x4"}), conv)
    assert isinstance(found, Estimate)
    assert 0.9 < found.seconds < 1.1
    assert cost_on(make_device("cpu", "cpu", {"cores": [0]}), conv) is None
    with pytest.raises(DeviceError, match="device 'x': there is no kind 'slide rule' of device"):
        kind_of(Device("x", "slide rule"))
