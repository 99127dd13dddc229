"""Every test here ends: a deadlock fails, and does not hang."""

from __future__ import annotations

import faulthandler
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

_LIMIT_S = 300  # on a busy machine


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        faulthandler.dump_traceback()
        raise TimeoutError(f"the test did not end in {_LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """Fails where a test leaves a thread of an executor."""
    yield
    left = [each.name for each in threading.enumerate() if each.name.startswith("sparsegen ")]
    assert left == []
