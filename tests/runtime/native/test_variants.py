"""Variants of one file as Python sees them: of one kind of inputs, whatever their shapes are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sparsegen_runtime
from sparsegen_runtime import ProgramError

from tests.runtime.native.artefacts import Variant
from tests.runtime.native.models import call, new, plan, slot, variant, write

TOLD: dict[str, Any] = {"call": None, "structure": None, "known": {}, "layers": [], "target": "haswell"}


def twice(code: bytes, elements: int, dtype: str = "float32") -> Variant:
    """A variant that doubles elements, of what its plan and extents take for a type."""
    calls = [call("twice", slot(0, [elements]), new(1, [elements]))]
    made = variant(code, plan(calls, [elements], {1: elements}, **TOLD))
    written, extents = (
        json.loads(json.dumps(each).replace("float32", dtype)) for each in (made.plan, made.extents)
    )
    return Variant(written, code, extents)


def test_variants_of_one_type(code: bytes, tmp_path: Path) -> None:
    model = sparsegen_runtime.load(write(tmp_path / "file", [twice(code, 3), twice(code, 5)]))
    x = np.arange(5, dtype=np.float32)
    assert np.array_equal(model(x), 2 * x)
    assert np.array_equal(model(x[:3]), 2 * x[:3])
    assert np.array_equal(model(x[:4]), 2 * x[:4])


def test_variants_of_several_types_are_refused(code: bytes, tmp_path: Path) -> None:
    """One check of an input's type serves all variants: none may read more bytes than it finds."""
    path = write(tmp_path / "file", [twice(code, 3), twice(code, 5, "float64")])
    with pytest.raises(ProgramError, match="variants of several types"):
        sparsegen_runtime.load(path)
