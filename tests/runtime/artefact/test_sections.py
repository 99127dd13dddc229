"""Sections of a file: each once, at cache lines and pages, for any reader of safetensors."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from sparsegen.runtime.artefact import safetensors as ours
from sparsegen.runtime.artefact.sections import Sections


def floats(count: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


def test_equal_bytes_of_a_type_are_one_section() -> None:
    sections = Sections()
    one = sections.add("weights/a", floats(8), "float32", (2, 4))
    assert sections.add("weights/b", floats(8), "float32", (8,)) is one
    assert sections.add("weights/b", floats(8).view(np.int32), "int32", (8,)).name == "weights/b/0"
    assert sections.add("weights/a", floats(8, seed=1), "float32", (8,)).name == "weights/a/1"
    assert len(list(sections)) == 3


def test_types_without_a_name_are_bytes() -> None:
    section = Sections().add("weights/a", np.ones(3, np.complex64), "complex64", (3,))
    assert (section.dtype, section.shape) == ("U8", (24,))


@pytest.mark.parametrize("sizes", [(), (0,), (1, 5000, 3, 1024, 16, 7, 2048)], ids=str)
def test_files_are_aligned_and_read_by_others(sizes: tuple[int, ...], tmp_path: Path) -> None:
    sections, path = Sections(), tmp_path / "file"
    arrays = {}
    for number, size in enumerate(sizes):
        array = floats(size, number)
        arrays[sections.add(f"weights/{number}", array, "float32", array.shape).name] = array
    written = ours.write(path, {"format": "test"}, sections)
    content = path.read_bytes()
    assert len(content) == written
    (length,) = struct.unpack("<Q", content[:8])
    assert (8 + length) % 4096 == 0
    header = json.loads(content[8 : 8 + length])
    assert header.pop("__metadata__") == {"format": "test"}
    for name, told in header.items():
        begin, end = told["data_offsets"]
        assert name.startswith("pad/") or begin % (4096 if end - begin >= 4096 else 64) == 0
        if name.startswith("pad/"):
            assert not any(content[8 + length + begin : 8 + length + end])
    read = safetensors.numpy.load_file(path)
    assert {name for name in read if not name.startswith("pad/")} == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
