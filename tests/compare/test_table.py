"""The tables at several widths of terminal."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from sparsegen.compare.headlines import headlines
from sparsegen.compare.report import Accuracy, Comparison, Timing
from sparsegen.compare.table import print_comparison


def printed(comparison: Comparison, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_comparison(comparison, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def told(comparison: Comparison) -> str:
    return "\n".join(headlines(comparison))


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("kind", ["comparison", "with_csr", "layers_only"])
def test_every_layer_is_one_line_within_the_width(
    kind: str, width: int, request: pytest.FixtureRequest
) -> None:
    comparison: Comparison = request.getfixturevalue(kind)
    lines = printed(comparison, width).splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if "3x3 " in line or "1x1 " in line]
    assert len(rows) == len(comparison.layers)
    for row, layer in zip(rows, comparison.layers, strict=True):
        assert f"{layer.race.speedup:.2f}x" in row


def test_a_layer_that_runs_dense_says_so(partly_dense: Comparison) -> None:
    for width, sparse, dense in (
        (80, "sparse masked", "dense winograd"),
        (160, "sparse panels masked_panels", "dense winograd winograd"),
    ):
        rows = [
            line for line in printed(partly_dense, width).splitlines() if "3x3 " in line or "1x1 " in line
        ]
        assert len(rows) == len(partly_dense.layers)
        for row, layer in zip(rows, partly_dense.layers, strict=True):
            words = " ".join(row.split())
            assert (f" {sparse} " in words, f" {dense} " in words) == (layer.sparse, not layer.sparse)


def test_the_headlines_tell_what_zeros_and_what_sparsegen_buy(partly_dense: Comparison) -> None:
    _, layers, network = headlines(partly_dense)
    assert f"zeros buy {partly_dense.geomean_speedup:.2f}x over the best dense in geometric mean" in layers
    assert f"sparsegen buys {partly_dense.geomean_speedup_over_torch:.2f}x over the best of torch" in layers
    assert layers.endswith("10 of 19 run sparse")
    assert network.startswith(
        "network: zeros buy 1.46x over the best dense (sparsegen); sparsegen buys 1.49x"
    )


def test_warnings_stand_by_the_headlines(comparison: Comparison) -> None:
    doubtful = dataclasses.replace(comparison, warnings=("the clock [varies]", "times vary"))
    lines = printed(doubtful, 160).splitlines()
    assert [line for line in lines if line.startswith("doubtful: ")] == [
        "doubtful: the clock [varies]",
        "doubtful: times vary",
    ]


def test_a_wide_table_shows_everything(comparison: Comparison) -> None:
    text = printed(comparison, 160)
    for expected in (
        "stage1.unit1.conv1",
        "64x64x3x3",
        "64x56x56",
        "50%",
        "masked_panels",
        "r4,th2,tw4,b32",
        "81%",
        "3e-07",
    ):
        assert expected in text


def test_csr_has_columns_where_it_took_part(comparison: Comparison, with_csr: Comparison) -> None:
    assert "csr" not in printed(comparison, 160)
    rows = [line for line in printed(with_csr, 80).splitlines() if "3x3 " in line or "1x1 " in line]
    assert all(" 6.00x " in row for row in rows)
    milliseconds = f"{6 * with_csr.layers[0].race.sparse.median_ms:.0f}"
    assert milliseconds in printed(with_csr, 160)
    assert "6.00x over the best CSR product in geometric mean" in told(with_csr)


def test_layers_alone_have_no_word_on_the_network(layers_only: Comparison) -> None:
    assert "network" not in printed(layers_only, 120)
    assert "at least" in told(layers_only)


def test_the_best_of_torch_is_marked(comparison: Comparison) -> None:
    marked = {line.split()[0]: line for line in printed(comparison, 120).splitlines() if "best " in line}
    assert "best of torch" in marked["torch-compile"]
    assert "best dense" in marked["sparsegen"]


def test_an_absent_rival_is_told_with_its_reason(comparison: Comparison) -> None:
    network = dataclasses.replace(comparison.end_to_end, absent={"torch-compile": "no [C++] compiler"})
    text = printed(dataclasses.replace(comparison, end_to_end=network), 120)
    assert "torch-compile took no part: no [C++] compiler" in text


def test_a_wrong_result_is_flagged(comparison: Comparison) -> None:
    wrong = Accuracy(max_abs_error=0.1, relative_error=2e-2)
    first = dataclasses.replace(comparison.layers[0], accuracy=wrong)
    network = dataclasses.replace(comparison.end_to_end, accuracy=wrong)
    layers = (first, *comparison.layers[1:])
    text = printed(dataclasses.replace(comparison, layers=layers, end_to_end=network), 120)
    assert "2e-02!" in text
    assert f"{first.name} differs from float64" in text
    assert "the whole network differs from float64" in text


def test_a_wrong_rival_is_flagged(with_csr: Comparison) -> None:
    wrong = {"torch-csr": Accuracy(max_abs_error=0.1, relative_error=2e-2)}
    first = dataclasses.replace(with_csr.layers[0], csr_accuracy=wrong)
    text = printed(dataclasses.replace(with_csr, layers=(first, *with_csr.layers[1:])), 200)
    assert f"torch-csr on {first.name} differs from float64" in text


def test_the_summary_says_where_and_how(comparison: Comparison) -> None:
    line = told(comparison)
    for expected in (
        "resnet18",
        "50% unstructured sparsity",
        "batch 16",
        "2 threads",
        "AMD EPYC 9R14",
        "medians of 15",
    ):
        assert expected in line
    assert f"{comparison.geomean_speedup:.2f}x over the best dense in geometric mean" in line
    assert "1.49x over the best of torch (torch-compile)" in line


def test_other_engines_are_among_the_rivals(comparison: Comparison) -> None:
    found = comparison.end_to_end
    assert found is not None
    race = dataclasses.replace(found.race, engines={"fastest": Timing(0.5, 0.4, 0.6)})
    with_engines = dataclasses.replace(comparison, end_to_end=dataclasses.replace(found, race=race))
    marked = [line for line in printed(with_engines, 120).splitlines() if "best rival" in line]
    assert marked[0].split()[:2] == ["fastest", "0.500"]
    assert f"{0.5 / race.sparse.median_ms:.2f}x over the best rival (fastest)" in told(with_engines)


def test_the_network_alone_has_no_word_on_layers(comparison: Comparison) -> None:
    alone = dataclasses.replace(comparison, layers=())
    text = printed(alone, 120)
    assert "layer" not in text
    assert "whole network" in text
    assert "network" in told(alone)
