"""The kinds of devices that come with sparsegen: core sets, GPUs through torch, tables, and bare hosts."""

from __future__ import annotations

import math
import os

from sparsegen.devices.cost import Estimate, estimate
from sparsegen.devices.kind import DeviceKind
from sparsegen.devices.machine import HOST, Device
from sparsegen.devices.operators import Operator
from sparsegen.devices.section import Section, read_toml
from sparsegen.devices.table_files import is_path, parse_table, table
from sparsegen.errors import DeviceError

_GPU = "gpu"
"""The table whose link connects a GPU that nobody says more of."""


class Cores(DeviceKind):
    """A set of this machine's cores, with a team of threads of its own, pinned to them: `cores = [0, 1]`."""

    name = "cpu"

    def make(self, name: str, settings: Section) -> Device:
        """Raises DeviceError for no cores, and for numbers that are no cores'."""
        cores = settings.need("cores")
        whole = isinstance(cores, list | tuple) and all(type(each) is int and each >= 0 for each in cores)
        if not whole or not cores:
            raise DeviceError(
                f"{settings.where}: cores is {cores!r}: a list of cores is needed, such as [0, 1]"
            )
        if len(set(cores)) < len(cores):
            raise DeviceError(f"{settings.where}: cores is {list(cores)}: each core can be there once")
        return Device(name, self.name, {"cores": list(cores)}, cores=tuple(cores))

    def missing(self, device: Device) -> str:
        """A core that this process may not run on."""
        there = os.sched_getaffinity(0)
        lacking = [core for core in device.cores if core not in there]
        if not lacking:
            return ""
        listed = ", ".join(map(str, lacking))
        return f"this process may not run on core {listed}: it may on {', '.join(map(str, sorted(there)))}"


class Cuda(DeviceKind):
    """A GPU that torch runs on: `index = 0`, the first."""

    name = "cuda"

    def make(self, name: str, settings: Section) -> Device:
        """Raises DeviceError for an index that cannot be."""
        index = settings.whole("index", 0)
        return Device(name, self.name, {"index": index}, index=index, link=table(_GPU).link)

    def missing(self, device: Device) -> str:
        """A GPU that torch does not see."""
        import torch  # here, for reading a table takes none

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        assert device.index is not None
        if device.index < count:
            return ""
        return f"torch {torch.__version__} sees {count or 'no'} CUDA GPU{'s' if count > 1 else ''} here"


class Profiled(DeviceKind):
    """A table, see `profile`: `table = "a53x4"`, the path of a file, or the table itself."""

    name = "profile"

    def make(self, name: str, settings: Section) -> Device:
        """Raises DeviceError for an unknown table, and for one that cannot be."""
        given = settings.need("table")
        if isinstance(given, str) and not is_path(given):
            profile = table(given)
        elif isinstance(given, str):
            content = read_toml(settings.folder / given, "a table of a device")
            given, profile = dict(content.content), parse_table(name, content)
        else:
            profile = parse_table(name, settings.section("table"))
        return Device(name, self.name, {"table": given}, profile=profile, link=profile.link)

    def estimate(self, device: Device, operator: Operator, dtype: str | None = None) -> Estimate:
        """By the table."""
        assert device.profile is not None
        return estimate(device.profile, operator, dtype)


class Host(DeviceKind):
    """What holds inputs and results, and computes nothing: what accelerators hang on. It has no settings.

    Where the host computes, too, name what it is: a cpu, or a table.
    """

    name = HOST

    def make(self, name: str, settings: Section) -> Device:
        """Takes no settings."""
        return Device(name, self.name)

    def estimate(self, device: Device, operator: Operator, dtype: str | None = None) -> Estimate:
        """It runs nothing."""
        return Estimate(math.inf, 0, 0, 0, reason="it holds inputs and results, and computes nothing")
