"""A run of `sparsegen prune`, room by room: the request, the totals, the program on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sparsegen.errors import SparsegenError
from sparsegen.pruning import PrunedLayer, run
from sparsegen.pruning.registry import METHODS, find_method
from sparsegen.pruning.table import print_pruning
from tests.pruning.networks import images, network


def test_every_method_is_registered_by_name() -> None:
    assert set(METHODS) == {
        *(
            "unstructured",
            "unstructured:global",
            "vector",
            "kernel",
            "N:M",
            "block",
            "column-combined",
            "budget",
        )
    }
    for name, method in METHODS.items():
        assert method.name == name
        assert {"skip", "linear", "scope"}.isdisjoint(method.options)


@pytest.mark.parametrize(
    ("earlier", "name"),
    [
        ("magnitude", "unstructured"),
        ("global", "unstructured:global"),
        ("n_m", "N:M"),
        ("column_combine", "column-combined"),
    ],
)
def test_earlier_spellings_are_aliases(earlier: str, name: str) -> None:
    assert find_method(earlier) is find_method(name) is METHODS[name]


@pytest.mark.parametrize(
    ("method", "given", "options", "structure"),
    [
        ("unstructured", {}, {"sparsity": 0.5}, "unstructured"),
        ("unstructured:global", {"sparsity": 0.9, "n": None}, {"sparsity": 0.9}, "unstructured:global"),
        ("vector", {"rows": 8}, {"sparsity": 0.5, "rows": 8}, "vector:8"),
        ("kernel", {}, {"sparsity": 0.5}, "kernel:4"),
        ("block", {"shape": (2, 3)}, {"sparsity": 0.5, "shape": (2, 3)}, "block:2x3"),
        ("N:M", {"n": 1, "m": 4}, {"n": 1, "m": 4}, "1:4"),
        ("N:M", {"n": 1, "m": 4, "rows": 2}, {"n": 1, "m": 4, "rows": 2}, "1:4x2"),
        ("column-combined", {"seed": 0}, {"sparsity": 0.5, "seed": 0}, "column-combined"),
        (
            "column-combined",
            {"method": "annealing"},
            {"sparsity": 0.5, "method": "annealing"},
            "column-combined:annealing",
        ),
        ("budget", {"budget": 0.1}, {"budget": 0.1, "ratios": ((1, 4), (2, 4), (4, 4))}, "N:M"),
        (
            "budget",
            {"budget": 1, "ratios": ((1, 2),), "rows": 4},
            {"budget": 1, "ratios": ((1, 2),), "rows": 4},
            "kernel:4",
        ),
    ],
)
def test_requests(method: str, given: dict[str, object], options: dict[str, object], structure: str) -> None:
    request = run.parse_request(method, given)
    assert (request.method.name, request.options, request.structure) == (method, options, structure)


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("best", {}, "no pruning method 'best': choose one of .*unstructured"),
        (
            "magnitude",
            {"rows": 4},
            "--rows goes with N:M or budget or kernel or vector, not with unstructured",
        ),
        ("vector", {"shape": (4, 4)}, "--block goes with block, not with vector"),
        ("n_m", {"n": 2, "m": 4, "sparsity": 0.5}, "--sparsity goes with block or .*, not with N:M"),
        ("block", {"method": "greedy"}, "--partition goes with column-combined"),
        ("global", {"threads": 1}, "--threads goes with budget"),
        ("budget", {"times": {}}, "--times goes with"),
        ("n_m", {"n": 2}, "N:M needs --m"),
        ("n_m", {}, "N:M needs --n and --m"),
        ("budget", {}, "budget needs --budget-ms"),
        ("budget", {"budget": 0.0}, "the budget is 0 ms: give a positive time"),
        ("budget", {"budget": math.nan}, "the budget is nan ms: give a positive time"),
    ],
)
def test_options_that_do_not_go_with_the_method(method: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(SparsegenError, match=message):
        run.parse_request(method, given)


def never(
    ratios: Sequence[tuple[int, int]], rows: int | None, threads: int | None, on_progress: object
) -> run.Times:
    raise AssertionError("nothing is to be measured")


def test_a_request_measures_where_its_method_chooses_by_time() -> None:
    asked = []

    def measure(
        ratios: Sequence[tuple[int, int]], rows: int | None, threads: int | None, on_progress: object
    ) -> run.Times:
        asked.append((ratios, rows, threads))
        return {name: {ratio: float(ratio[0]) for ratio in ratios} for name in ("wide", "narrow")}

    given = {"budget": 3.0, "ratios": ((1, 2), (2, 2)), "rows": 4, "threads": 1}
    request = run.parse_request("budget", given)
    layers = request.prune(
        network(), skip=None, linear=False, measure=measure, on_progress=lambda *step: None
    )
    assert asked == [(((1, 2), (2, 2)), 4, 1)]
    assert sum(layer.detail["seconds"] for layer in layers) == 3.0


def test_a_request_tells_progress_where_its_method_does() -> None:
    told: list[str] = []
    for method in ("magnitude", "column_combine"):
        run.parse_request(method, {}).prune(
            network(),
            skip=("stem", "narrow"),
            linear=False,
            measure=never,
            on_progress=lambda text, done, total: told.append(text),
        )
    assert told == ["combining the columns of layer wide"]


def test_ratios_are_read() -> None:
    assert run.parse_ratios("1:4, 2:4,4:4,2:4") == ((1, 4), (2, 4), (4, 4))
    for text in ("", "1:4,", "2", "a:b", "1:4;2:4", "-1:4"):
        with pytest.raises(SparsegenError, match="is no ratio: give N:M"):
            run.parse_ratios(text)
    with pytest.raises(SparsegenError, match="ratio is 4:2"):
        run.parse_ratios("4:2")


LAYERS = (
    PrunedLayer("stage1.conv", (8, 4, 3, 3), 0.75, 0.5, {"n": 1, "m": 4, "seconds": 2e-3}, "1:4"),
    PrunedLayer("fc", (6, 16), 0.0, 1.0, {"n": 4, "m": 4, "seconds": 1.5e-3}, "dense", ("so",)),
)


@pytest.fixture
def pruning() -> run.Pruning:
    return run.Pruning("net", "N:M", {"budget": 4e-3, "ratios": ((1, 4), (4, 4))}, "net.pt2", LAYERS)


def test_totals(pruning: run.Pruning, tmp_path: Path) -> None:
    assert (pruning.weights, pruning.sparsity, pruning.kept_l1) == (384, 0.5625, 0.75)
    run.save_report(pruning, tmp_path / "net.json")
    found = json.loads((tmp_path / "net.json").read_text())
    assert (found["schema"], found["structure"]) == (2, "N:M")
    assert found["options"] == {"budget": 4e-3, "ratios": [[1, 4], [4, 4]]}
    assert found["layers"][0] == {
        "name": "stage1.conv",
        "shape": [8, 4, 3, 3],
        "structure": "1:4",
        "sparsity": 0.75,
        "kept_l1": 0.5,
        "detail": {"n": 1, "m": 4, "seconds": 2e-3},
        "notes": [],
    }
    assert found["layers"][1]["notes"] == ["so"]
    assert found["summary"] == {"weights": 384, "sparsity": 0.5625, "mean_kept_l1": 0.75}
    with pytest.raises(SparsegenError, match="cannot write"):
        run.save_report(pruning, tmp_path)


def test_the_table(pruning: run.Pruning) -> None:
    console = Console(file=StringIO(), width=60)
    print_pruning(pruning, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    row = next(line for line in lines if "8x4x3x3" in line)
    assert row.split() == ["stage1.conv", "8x4x3x3", "75.0%", "50.0%", "1:4,", "2.00", "ms"]
    assert lines[-1] == (
        "net, N:M within 4.00 ms: 2 layers, 384 weights, 56.2% zeros, 75.0% of the L1 norm kept in the mean, "
        "3.50 ms; saved as net.pt2"
    )


@pytest.fixture
def program() -> torch.export.ExportedProgram:
    return torch.export.export(network().eval(), (images(),))


def test_a_program_is_written_whole(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_text("what was there")
    run.save_program(program, path)
    assert [each.name for each in tmp_path.iterdir()] == ["net.pt2"]
    torch.testing.assert_close(torch.export.load(path).module()(images()), program.module()(images()))


def test_a_failure_loses_nothing(
    program: torch.export.ExportedProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.pt2"
    path.write_text("what was there")

    def fail(program: object, path: Path) -> None:
        path.write_text("half of a pro")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.export, "save", fail)
    with pytest.raises(SparsegenError, match=r"cannot write .*net.pt2: No space left"):
        run.save_program(program, path)
    assert path.read_text() == "what was there"
    assert [each.name for each in tmp_path.iterdir()] == ["net.pt2"]
