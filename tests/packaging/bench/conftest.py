"""Files of small models, which take no compiler but gcc."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.runtime.native.conftest import code as code
from tests.runtime.native.models import write
from tests.runtime.native.test_variants import twice


@pytest.fixture
def file(code: bytes, tmp_path: Path) -> Path:
    """A model that doubles 4 or 2 numbers, of any thread count."""
    return write(tmp_path / "m.sparsegen", [twice(code, 4), twice(code, 2)])


@pytest.fixture
def with_torch(code: bytes, tmp_path: Path) -> Path:
    """A model that needs torch, as its file says."""
    return write(tmp_path / "torch.sparsegen", [replace(twice(code, 4), needs_torch=True)])
