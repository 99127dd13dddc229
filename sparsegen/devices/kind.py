"""What a kind of device has to tell: the base class of sparsegen's own kinds, and of other packages'."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from sparsegen.devices.cost import Estimate
from sparsegen.devices.machine import Device
from sparsegen.devices.operators import Operator
from sparsegen.devices.section import Section

Runner = Callable[..., Any]
"""Runs an operator: called with its inputs, tensors of torch on the CPU, it gives its results there."""


class DeviceKind(ABC):
    """A kind of device: what one is made of, what operators cost there, and how they run.

    Owed: `make` gives equal devices for equal settings, and takes the settings of a device that it made, as
    JSON holds them. A runner gives the results of the operator that it was made for; it is called by one
    thread at a time, not always the same.
    """

    name: str
    """What files call it."""

    @abstractmethod
    def make(self, name: str, settings: Section) -> Device:
        """A device called `name`. Takes all its settings; raises DeviceError for any that cannot be."""

    def missing(self, device: Device) -> str:
        """Why this machine cannot run anything on a device, as a phrase; empty where it can."""
        return ""

    def estimate(self, device: Device, operator: Operator, dtype: str | None = None) -> Estimate | None:
        """What an operator costs on a device, or why it does not run there; None: measure it."""
        return None

    def runner(self, device: Device, operator: Runner, example: tuple[Any, ...]) -> Runner:
        """What runs an operator on a device; `operator` computes it with torch, `example` are inputs of it.

        This one runs it where it is called. Sparsegen's own kinds are run by the scheduler itself.
        """
        return operator
