"""SHA-256 of the native library, by the CPU's instructions and without them."""

from __future__ import annotations

import ctypes
import hashlib
import random

import pytest

SIZES = (*range(200), 255, 256, 257, 4095, 4096, 4097, 100_003)


@pytest.mark.parametrize("path", [0, 3], ids=["plain", "SHA-NI"], indirect=True)
def test_sums_are_those_of_hashlib(paths: ctypes.CDLL, path: int) -> None:
    data = random.Random(0).randbytes(max(SIZES) + 1)
    digest = ctypes.create_string_buffer(32)
    for size in SIZES:
        for begin in (0, 1):  # aligned, and not
            part = (ctypes.c_char * (size + begin)).from_buffer_copy(data)
            paths.test_sha256(path, ctypes.byref(part, begin), ctypes.c_size_t(size), digest)
            assert digest.raw == hashlib.sha256(data[begin : begin + size]).digest(), (size, begin)
