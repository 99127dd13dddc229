"""Devices as data: what each can run, how fast, and how the devices are connected.

Nothing here takes torch or TVM to import, and nothing runs operators: the scheduler does, and asks here
what they cost on devices that are tables.
"""

from sparsegen.devices.cost import Estimate, alone_seconds, estimate, slowdown, utilisation
from sparsegen.devices.device_files import load_devices
from sparsegen.devices.figures import Figure
from sparsegen.devices.here import this_machine
from sparsegen.devices.kind import DeviceKind, Runner
from sparsegen.devices.limits import unsupported
from sparsegen.devices.machine import HOST, Device, Link, Machine, connect, with_host
from sparsegen.devices.operators import Operator, describe, describe_graph
from sparsegen.devices.profile import Limits, OwnLink, Profile
from sparsegen.devices.registry import check_present, cost_on, kind_of, kinds, make_device, register
from sparsegen.devices.section import Section
from sparsegen.devices.table_files import read_table, table, tables

__all__ = [
    "HOST",
    "Device",
    "DeviceKind",
    "Estimate",
    "Figure",
    "Limits",
    "Link",
    "Machine",
    "Operator",
    "OwnLink",
    "Profile",
    "Runner",
    "Section",
    "alone_seconds",
    "check_present",
    "connect",
    "cost_on",
    "describe",
    "describe_graph",
    "estimate",
    "kind_of",
    "kinds",
    "load_devices",
    "make_device",
    "read_table",
    "register",
    "slowdown",
    "table",
    "tables",
    "this_machine",
    "unsupported",
    "utilisation",
    "with_host",
]
