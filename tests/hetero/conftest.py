"""Every test here ends: a deadlock fails, and does not hang."""

from __future__ import annotations

import faulthandler
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest
from hypothesis import settings

from tests.sampling import SOAK

_LIMIT_S = 300  # on a busy machine
_SOAK_LIMIT_S = 3600  # of a test with as many examples as a soak has


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    limit = _SOAK_LIMIT_S if settings.get_current_profile_name() == SOAK else _LIMIT_S

    def late(number: int, frame: FrameType | None) -> None:
        faulthandler.dump_traceback()
        raise TimeoutError(f"the test did not end in {limit} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(limit)
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
