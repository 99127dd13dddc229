"""Comparisons are read back from their JSON, those of the schemas before too."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from sparsegen.compare.headlines import torch_line
from sparsegen.compare.reading import read_comparison
from sparsegen.compare.report import OURS, Comparison, TorchPart
from sparsegen.errors import FileError

ZEN5 = Path(__file__).parents[2] / "bench" / "results" / "zen5"


@pytest.mark.parametrize("kind", ["comparison", "layers_only", "with_csr", "partly_dense"])
def test_what_was_written_is_read(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    comparison: Comparison = request.getfixturevalue(kind)
    comparison = dataclasses.replace(comparison, warnings=("the clock varies",))
    (tmp_path / "a.json").write_text(comparison.to_json())
    assert read_comparison(tmp_path / "a.json") == comparison


def test_an_absent_rival_stays_absent(comparison: Comparison, tmp_path: Path) -> None:
    network = comparison.end_to_end
    assert network is not None
    dense = {name: timing for name, timing in network.race.dense.items() if name != "torch-compile"}
    race = dataclasses.replace(network.race, dense=dense)
    network = dataclasses.replace(network, race=race, absent={"torch-compile": "no compiler"})
    comparison = dataclasses.replace(comparison, end_to_end=network)
    (tmp_path / "a.json").write_text(comparison.to_json())
    assert read_comparison(tmp_path / "a.json") == comparison


def test_torchs_part_is_kept(comparison: Comparison, tmp_path: Path) -> None:
    network = comparison.end_to_end
    assert network is not None
    part = TorchPart({"aten.cumsum.default": 2}, share=0.25)
    comparison = dataclasses.replace(comparison, end_to_end=dataclasses.replace(network, torch=part))
    (tmp_path / "a.json").write_text(comparison.to_json())
    assert read_comparison(tmp_path / "a.json") == comparison
    assert torch_line(comparison) == (
        "torch itself computes 2 calls of aten.cumsum.default: 25% of the network's time"
    )


@pytest.mark.parametrize(
    "name", ["layers/resnet18-batch16-threads1-unstructured.json", "race/resnet18-50-batch16-threads1.json"]
)
def test_kept_results_of_schema_3_are_read(name: str) -> None:
    written = json.loads((ZEN5 / name).read_text())
    assert written["schema"] == 3
    found = read_comparison(ZEN5 / name)
    told = found.as_dict()
    assert (told["schema"], told["warnings"]) == (5, [])
    assert told["summary"]["geomean_speedup"] == pytest.approx(written["summary"]["geomean_speedup"])
    assert told["machine"] == written["machine"]
    for now, before in zip(told["layers"], written["layers"], strict=True):
        assert {name: now[name] for name in before} == before
        assert now["sparse"] is (before["format"] != "dense_panels")
    if written["end_to_end"] is not None:
        assert {name: told["end_to_end"][name] for name in written["end_to_end"]} == written["end_to_end"]


def as_schema_3(comparison: Comparison) -> dict[str, Any]:
    """As schema 3 had it: without the kernel itself among the rivals of a layer that runs dense."""
    content = {**comparison.as_dict(), "schema": 3}
    del content["warnings"]
    for layer in content["layers"]:
        del layer["implementation"], layer["csr_max_abs_error"]
        if not layer.pop("sparse"):
            del layer["dense_ms"][OURS], layer["spread_ms"][OURS]
            best = layer["best_dense"] = layer["best_torch"]
            layer["speedup"] = layer["dense_ms"][best] / layer["sparse_ms"]
    return content


def test_schema_3_left_our_dense_kernel_out_where_it_won(partly_dense: Comparison, tmp_path: Path) -> None:
    content = as_schema_3(partly_dense)
    assert content["layers"][1]["speedup"] > 1
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = read_comparison(tmp_path / "a.json")
    assert found == partly_dense
    assert found.layers[1].race.speedup == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no comparison"),
        ("[]", "is no comparison"),
        ('{"schema": 4}', "is no comparison .*KeyError"),
        ('{"schema": 2}', "has schema 2, and this version of sparsegen reads comparisons of schemas 3 to 5"),
        ('{"schema": 6}', "has schema 6"),
        ('{"schema": "4"}', "has schema '4'"),
    ],
)
def test_what_is_no_comparison_is_told(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(FileError, match=message):
        read_comparison(tmp_path / "a.json")


@pytest.mark.parametrize("schema", [3, 4])
@pytest.mark.parametrize(
    ("earlier", "name"),
    [("vector", "vector:4"), ("kernel", "kernel:4"), ("block", "block:4x4"), ("vector:8", "vector:8")],
)
def test_earlier_schemas_left_usual_sizes_out_of_structures(
    schema: int, earlier: str, name: str, comparison: Comparison, tmp_path: Path
) -> None:
    content = {**comparison.as_dict(), "schema": schema, "structure": earlier}
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert read_comparison(tmp_path / "a.json").structure == name


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot read .*a.json: No such file"):
        read_comparison(tmp_path / "a.json")
