"""Torch as a compiled model's own operators need it, for the time of a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def as_compiled(threads: int) -> Iterator[None]:
    """No gradients, no autocast, and so many threads for torch's operators; all as before afterwards."""
    before = torch.get_num_threads()
    # Setting the number that there is would still empty caches of torch's.
    if before != threads:
        torch.set_num_threads(threads)
    autocast = torch.is_autocast_enabled("cpu")
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False) if autocast else nullcontext():
            yield
    finally:
        if before != threads:
            torch.set_num_threads(before)
