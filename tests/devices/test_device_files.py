"""Files of devices: what they hold, links that go without saying, ways through the host, and bad input."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparsegen.devices import (
    Link,
    Machine,
    Operator,
    check_present,
    cost_on,
    load_devices,
    make_device,
    this_machine,
)
from sparsegen.devices.machine import SHARED_MEMORY, through
from sparsegen.errors import DeviceError
from tests.devices.samples import written

ARM = '[[device]]\nname = "arm"\nkind = "profile"\ntable = "arm-a53x4"\n'
TPU = '[[device]]\nname = "tpu"\nkind = "profile"\ntable = "edgetpu-usb3"\n'
OWN = '[[device]]\nname = "own"\nkind = "profile"\n[device.table.rates.float32]\nother = "1 GB/s"\n'
CPU = '[[device]]\nname = "cpu"\nkind = "cpu"\ncores = [{}]\n'
LINK = '[[link]]\nfrom = "arm"\nto = "own"\nlatency = "12 us"\nbandwidth = "1 GB/s"\n'
CORE = min(os.sched_getaffinity(0))
HERE = CPU.format(CORE)


def load(folder: Path, *parts: str, present: bool = True) -> Machine:
    return load_devices(written(folder, "".join(parts)), present=present)


def test_devices_and_links(tmp_path: Path) -> None:
    machine = load(tmp_path, ARM, TPU, OWN, LINK, "exclusive = true\n")
    assert [device.name for device in machine.devices] == ["arm", "tpu", "own"]
    assert machine.host == "arm"
    assert machine.link("arm", "own") == Link("arm", "own", 12e-6, 1e9, buses=("own",))
    assert machine.link("own", "arm") == Link("own", "arm", 12e-6, 1e9, buses=("own",))
    tpu = machine.device("tpu").profile
    assert tpu is not None
    assert tpu.link is not None
    own = Link("tpu", "arm", tpu.link.latency.value, tpu.link.bandwidth.value, buses=("tpu",))
    assert machine.link("tpu", "arm") == own
    assert machine.stream_bandwidth("tpu") == own.bandwidth


def test_a_link_of_the_file_takes_the_place_of_a_tables(tmp_path: Path) -> None:
    link = LINK.replace('"own"', '"tpu"') + "one_way = true\n"
    machine = load(tmp_path, ARM, TPU, link)
    assert machine.link("arm", "tpu") == Link("arm", "tpu", 12e-6, 1e9)
    back = machine.link("tpu", "arm")
    assert back is not None
    assert back.bandwidth == 480e6


def test_two_devices_without_a_link_go_through_the_host(tmp_path: Path) -> None:
    machine = load(tmp_path, ARM, TPU, TPU.replace('"tpu"', '"tpu1"'), OWN, LINK)
    assert machine.link("tpu", "tpu1") is None
    between = machine.way("tpu", "tpu1")
    assert (between.via, between.exclusive, between.buses) == ("arm", False, ("tpu", "tpu1"))
    there, back = machine.way("tpu", "arm"), machine.way("arm", "tpu1")
    assert between.seconds(1000) == pytest.approx(there.seconds(1000) + back.seconds(1000))
    assert len(machine.ways()) == 4 * 3
    assert machine.way("arm", "own").via == ""


def test_links_in_a_row_add_up() -> None:
    both = through(Link("a", "b", 1e-3, 1e6), Link("b", "c", 2e-3, 2e6))
    assert (both.source, both.target, both.via, both.exclusive) == ("a", "c", "b", False)
    assert both.seconds(4_000_000) == pytest.approx(3e-3 + 4 + 2)


def test_without_a_link_there_is_no_way(tmp_path: Path) -> None:
    machine = load(tmp_path, ARM, OWN)
    assert machine.ways() == ()
    with pytest.raises(
        DeviceError, match=r"no link from 'arm' to 'own', and none through the host 'arm': add a"
    ):
        machine.way("arm", "own")
    with pytest.raises(DeviceError, match="there is no device 'gpu': there are arm, own"):
        machine.device("gpu")


def test_core_sets_share_memory_and_the_host_can_be_named(tmp_path: Path) -> None:
    one, other = CPU.format(CORE), CPU.format(100_000).replace('name = "cpu"', 'name = "cpu1"')
    machine = load(tmp_path, 'host = "cpu1"\n', one, other, TPU, present=False)
    assert machine.link("cpu", "cpu1") == Link("cpu", "cpu1", *SHARED_MEMORY)
    assert machine.link("tpu", "cpu") is None
    assert machine.way("tpu", "cpu").via == "cpu1"
    assert machine.device("cpu").cores == (CORE,)


def test_accelerators_alone_hang_on_a_host_that_computes_nothing(tmp_path: Path) -> None:
    machine = load(tmp_path, TPU, TPU.replace('"tpu"', '"host"'))
    assert [(each.name, each.kind) for each in machine.devices] == [
        ("tpu", "profile"),
        ("host", "profile"),
        ("host'", "host"),
    ]
    assert machine.host == "host'"
    assert [each.name for each in machine.computing] == ["tpu", "host"]
    assert machine.way("tpu", "host'").seconds(480_000) == pytest.approx(1e-3)
    assert machine.way("tpu", "host").via == "host'"
    refused = cost_on(machine.device("host'"), Operator("relu", "pointwise", 0, 1, 1))
    assert refused is not None
    assert refused.reason == "it holds inputs and results, and computes nothing"


def test_a_host_that_computes_nothing_can_be_named_and_linked(tmp_path: Path) -> None:
    host = '[[device]]\nname = "pc"\nkind = "host"\n'
    link = LINK.replace('"arm"', '"pc"')
    machine = load(tmp_path, OWN, host, link)
    assert machine.host == "pc"
    assert machine.way("pc", "own").latency == 12e-6
    with pytest.raises(DeviceError, match="device 'pc' has the unknown key 'cores': there can be none"):
        load(tmp_path, host, "cores = [0]\n")
    own_host = load(tmp_path, 'host = "tpu"\n', TPU)
    assert [each.name for each in own_host.devices] == ["tpu"]


def test_a_path_starts_from_the_files_folder(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    written(
        inner,
        '[rates.int8]\nother = "1 GB/s"\n[overheads]\noperator = "1 us"\n'.replace("int8", "float32"),
        "a.toml",
    )
    machine = load(inner, ARM, OWN.partition("[device.")[0], 'table = "a.toml"\n')
    own = machine.device("own")
    assert own.profile is not None
    assert own.profile.operator_overhead.value == 1e-6
    # What the device was made of says all, wherever it is read.
    assert make_device("own", own.kind, own.settings) == own


def test_devices_are_made_again_of_their_settings(tmp_path: Path) -> None:
    gpu = '[[device]]\nname = "gpu"\nkind = "cuda"\nindex = 3\n'
    for device in load(tmp_path, HERE, TPU, OWN, gpu, present=False).devices:
        assert make_device(device.name, device.kind, device.settings) == device


def test_this_machine_has_its_cores() -> None:
    machine = this_machine()
    assert machine.host == "cpu"
    assert set(machine.device("cpu").cores) == os.sched_getaffinity(0)
    check_present(machine.devices)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu = '[[device]]\nname = "gpu"\nkind = "cuda"\n'
    machine = load(tmp_path, ARM, gpu, present=False)
    link = machine.link("gpu", "arm")
    assert link is not None
    assert link.bandwidth == 12e9
    with pytest.raises(DeviceError, match=r"device 'gpu': torch .* sees no CUDA GPU here"):
        check_present(machine.devices)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_present(machine.devices)
    with pytest.raises(DeviceError, match="sees 2 CUDA GPUs here"):
        load(tmp_path, ARM, gpu, "index = 2\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"has no devices: add a \[\[device\]\]"),
        ("= 3", "is not a file of devices in TOML"),
        ("device = 3", r"device is 3: write it as \[\[device\]\]"),
        ("device = [3]", "device 1 is 3: a table of keys and values is needed"),
        ('[[device]]\nkind = "cpu"\n', "device 1 has no name: add it"),
        ('[[device]]\nname = "a"\n', "device 1 has no kind: add it"),
        ('[[device]]\nname = ""\nkind = "cpu"\n', "name is '': a text is needed"),
        (
            '[[device]]\nname = "a"\nkind = "npu"\n',
            "device 'a': there is no kind 'npu' of device: there are cpu, cuda",
        ),
        (ARM + "speed = 3\n", "device 'arm' has the unknown key 'speed': there can be table"),
        (ARM.replace("a53x4", "a99"), "there is no table 'arm-a99': there are arm-a53x4"),
        (
            ARM.replace("arm-a53x4", "none.toml"),
            "none.toml cannot be read as a table of a device: No such file",
        ),
        (ARM.replace('"arm-a53x4"', "3"), "device 'arm': table is 3"),
        (OWN.replace("GB/s", "GB/h"), "device 'own': table: rates: float32: other is '1 GB/h'.*unknown unit"),
        (ARM + ARM, "more than one device called 'arm'"),
        (CPU.format(""), r"cores is \[\]: a list of cores is needed"),
        (CPU.format("-1"), "a list of cores is needed"),
        (CPU.format("true"), "a list of cores is needed"),
        (CPU.format("0, 0"), r"cores is \[0, 0\]: each core can be there once"),
        (CPU.replace("[{}]", "0"), "cores is 0: a list of cores"),
        (CPU.replace("cores = [{}]", ""), "device 'cpu' has no cores: add it"),
        (
            CPU.format("0, 1") + CPU.format("1, 2").replace('name = "cpu"', 'name = "b"'),
            "'cpu' and 'b' overlap: both have core 1",
        ),
        (CPU.format("100000"), "device 'cpu': this process may not run on core 100000: it may on"),
        ('[[device]]\nname = "g"\nkind = "cuda"\nindex = -1\n', "index is -1: a whole number"),
        (ARM + "host = 3\n", "device 'arm' has the unknown key 'host'"),
        ('host = "b"\n' + ARM, "host is 'b', and there is no such device: there are arm"),
        ("machine = 1\n" + ARM, "has the unknown key 'machine': there can be host"),
        (ARM + LINK, "link 1: there is no device 'own': there are arm"),
        (ARM + LINK.replace('"own"', '"arm"'), "link 1 connects 'arm' to itself"),
        (
            ARM + OWN + LINK.replace("12 us", "12 parsecs"),
            "link 1: latency is '12 parsecs'.*unknown unit 'parsecs'",
        ),
        (ARM + OWN + LINK.replace('"12 us"', "12e-6"), "latency is 1.2e-05: give a number and its unit"),
        (ARM + OWN + LINK.replace("12 us", "-12 us"), "a number of at least 0"),
        (ARM + OWN + LINK.replace("1 GB/s", "0 GB/s"), "a number above 0"),
        (ARM + OWN + LINK.replace("1 GB/s", "inf GB/s"), "a finite number"),
        (ARM + OWN + LINK.replace('bandwidth = "1 GB/s"', ""), "link 1 has no bandwidth"),
        (ARM + OWN + LINK + "width = 3\n", "link 1 has the unknown key 'width'"),
        (ARM + OWN + LINK + LINK, "more than one link from 'arm' to 'own'"),
    ],
)
def test_files_that_cannot_be(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=reason):
        load(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be read as a file of devices: No such file"):
        load_devices(tmp_path / "none.toml")
