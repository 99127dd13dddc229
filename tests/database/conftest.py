"""Where the tests of journals write."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal that is not there yet."""
    return tmp_path / "log.jsonl"
