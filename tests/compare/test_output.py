"""Output files: refused early, written whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsegen.compare.output import write_outputs
from sparsegen.compare.report import Comparison
from sparsegen.errors import SparsegenError
from sparsegen.outputs import check_outputs


def test_files_are_written(comparison: Comparison, tmp_path: Path) -> None:
    table, picture = tmp_path / "a.json", tmp_path / "a.png"
    check_outputs({"--json": table}, {"--png": picture})
    assert list(tmp_path.iterdir()) == []
    write_outputs(comparison, json=table, png=picture)
    assert json.loads(table.read_text())["model"] == "resnet18"
    assert picture.stat().st_size > 0


@pytest.mark.parametrize("name", ["missing/a.json", "."])
def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SparsegenError, match="folder"):
        check_outputs({"--json": tmp_path / name}, {"--png": None})


def test_a_failure_to_write_is_bad_input(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(SparsegenError, match="cannot write"):
        write_outputs(comparison, json=tmp_path / "missing" / "a.json", png=None)
