"""Memory of a model where the system has little of it, or no large pages."""

from __future__ import annotations

import errno
import mmap

import numpy as np
import pytest

from sparsegen.errors import OutOfMemoryError, SparsegenError
from sparsegen.runtime.memory import allocate, allocate_result, place_arrays
from sparsegen.runtime.program import array_at

FAR_TOO_MUCH = 1 << 60  # more than a process can address


def test_an_arena_that_no_memory_is_left_for() -> None:
    with pytest.raises(OutOfMemoryError, match="1,152,921,504,606,846,976 bytes of weights or activations"):
        allocate(FAR_TOO_MUCH)


def test_weights_that_no_memory_is_left_for() -> None:
    array = np.broadcast_to(np.float32(1), (FAR_TOO_MUCH // 4,))
    with pytest.raises(SparsegenError, match="1,152,921,504,606,846,976 bytes of weights"):
        place_arrays([array])


def test_results_that_no_memory_is_left_for() -> None:
    with pytest.raises(MemoryError, match="1,152,921,504,606,846,976 bytes of results"):
        allocate_result((FAR_TOO_MUCH // 4,))


def test_a_system_that_refuses_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(mmap.mmap):
        def madvise(self, *_: int) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Small)
    assert not allocate(100).any()


def test_a_system_that_does_not_know_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    block, (placed,) = place_arrays([np.arange(5, dtype=np.float32)])
    np.testing.assert_array_equal(array_at(block, placed), np.arange(5, dtype=np.float32))
