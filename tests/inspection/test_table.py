"""The table and its lines at several widths of terminal."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from sparsegen.inspection import Inspection
from sparsegen.inspection.table import estimate_line, print_inspection, totals_line, verdict_line
from tests.inspection.conftest import layer, of_layers


def printed(inspection: Inspection, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_inspection(inspection, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if "512x256x3x3" in line]


@pytest.mark.parametrize("width", [80, 110, 130, 160, 200])
@pytest.mark.parametrize("kind", ["paying", "mixed"])
def test_every_layer_is_one_line_within_the_width(
    kind: str, width: int, request: pytest.FixtureRequest
) -> None:
    inspection: Inspection = request.getfixturevalue(kind)
    text = printed(inspection, width)
    assert max(map(len, text.splitlines())) <= width
    assert len(rows(text)) == len(inspection.layers)
    for row, each in zip(rows(text), inspection.layers, strict=True):
        assert ("none" if each.expected_speedup is None else f"{each.expected_speedup:.2f}x") in row
        assert row.rstrip().endswith("!") is not each.pays or width >= 150


def test_a_narrow_table_tells_structures_and_marks(mixed: Inspection) -> None:
    combined = dataclasses.replace(
        mixed.layers[0], structure="column-combined, groups of 7.9", format="column_combined"
    )
    text = printed(of_layers(combined, *mixed.layers[1:]), 80)
    assert "column-combined  combined" in rows(text)[0]
    assert [row.rstrip().endswith("!") for row in rows(text)] == [False, False, True, True, True]
    assert "why" not in text


def test_a_wide_table_shows_everything(mixed: Inspection) -> None:
    text = printed(mixed, 200)
    for expected in ("stage3.unit1.conv1", "50%", "masked_panels", "4p", "3,613", "4,608", "78%", "1,850"):
        assert expected in text
    for each, row in zip(mixed.layers, rows(text), strict=True):
        assert each.why in row
    assert "p: permuted" in text


def test_permuted_rows_are_explained_only_where_there_are_any(paying: Inspection) -> None:
    assert "p: permuted" not in printed(of_layers(paying.layers[0]), 200)
    assert "p: permuted" not in printed(paying, 80)


def test_the_totals_say_what_is_counted(paying: Inspection, mixed: Inspection) -> None:
    assert "expected 2.00x for 2 layers together" in totals_line(paying)
    assert "1,179,648 of 2,359,296 weights kept (50%)" in totals_line(paying)
    assert "for 4 of 5 layers together, 80.0% of the multiply-adds" in totals_line(mixed)
    assert totals_line(of_layers(mixed.layers[-1])).endswith("no layer has an estimate")


def test_the_closing_line_names_layers_by_their_reasons(mixed: Inspection) -> None:
    assert verdict_line(mixed) == (
        "! sparse will not pay in 3 of 5 layers: stage3.unit2.conv1, stage3.unit2.conv2 (too dense: the "
        "zeros gain little); stage3.unit2.depthwise (grouped convolutions run dense)"
    )


def test_the_closing_line_where_sparse_pays(paying: Inspection) -> None:
    assert verdict_line(paying) == "sparse should pay in all 2 layers"
    assert verdict_line(of_layers(paying.layers[0])) == "sparse should pay in 1 layer"


def test_a_model_that_was_never_pruned_is_told_so() -> None:
    dense = layer("conv", speedup=1.0, why="no zeros")
    line = verdict_line(of_layers(dataclasses.replace(dense, kept=dense.weights)))
    assert "no layer was pruned" in line


def test_estimates_are_called_estimates(paying: Inspection) -> None:
    line = estimate_line(paying)
    for expected in ("analytic model", "znver4 (AVX-512)", "batch 16", "2 threads", "nothing was measured"):
        assert expected in line
    assert "sparsegen compare" in line
