"""This machine as devices: all cores that the process may run on, and the GPUs that torch sees."""

from __future__ import annotations

import os

from sparsegen.devices.machine import Machine, connect
from sparsegen.devices.registry import make_device


def this_machine() -> Machine:
    """A `cpu` of all cores that this process may run on, and `gpu0`, `gpu1`, ... of the GPUs torch sees."""
    devices = [make_device("cpu", "cpu", {"cores": sorted(os.sched_getaffinity(0))})]
    devices += [make_device(f"gpu{index}", "cuda", {"index": index}) for index in range(_gpus())]
    return connect(devices, (), "cpu")


def _gpus() -> int:
    import torch  # here, for reading a table takes none

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
