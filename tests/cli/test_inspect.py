"""`sparsegen inspect` as it is typed: a table, JSON, and bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sparsegen.cli.app import app

SMALL = ("tests.cli.networks:small", "--input-shape", "3x12x12", "--batch", "16", "--threads", "1")


def inspect(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["inspect", *arguments])


def test_an_inspection_from_end_to_end(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    result = inspect(*SMALL, "--target", "haswell", "--json", str(path))
    assert result.exit_code == 0, result.output
    assert "10x8x3x3" in result.stdout
    assert "! sparse will not pay: no layer was pruned" in result.stdout
    assert "haswell (AVX2), batch 16, 1 thread" in " ".join(result.stdout.split())
    found = json.loads(path.read_text())
    assert (found["schema"], found["batch"], found["threads"]) == (2, 16, 1)
    assert found["target"]["name"] == "haswell"
    assert [layer["name"] for layer in found["layers"]] == ["0", "2", "4", "7"]


def test_what_was_pruned_pays(tmp_path: Path) -> None:
    program = str(tmp_path / "pruned.pt2")
    pruned = CliRunner().invoke(
        app,
        ["prune", SMALL[0], *SMALL[1:5], "--method", "vector", "--sparsity", "0.75", "-o", program],
    )
    assert pruned.exit_code == 0, pruned.output
    result = inspect(program, "--threads", "1")  # with the file's own batch
    assert result.exit_code == 0, result.output
    closing = " ".join(result.stdout.split()).partition("! ")[2].rpartition("! ")[2]
    assert closing == "sparse will not pay in 2 of 4 layers: 0, 7 (no zeros)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tests.cli.networks:absent",), "absent"),
        (("missing.pt2",), "missing.pt2"),
        (("tests.inspection.networks:no_weights",), "no convolution and no linear layer"),
        ((*SMALL, "--threads", "0"), "threads is 0"),
        ((*SMALL, "--batch", "0"), "batch is 0"),
        ((*SMALL, "--target", "z80"), "z80"),
        ((*SMALL, "--approximate", "0"), "approximate is 0.0"),
        ((*SMALL, "--approximate", "relu=1e-3"), "names 'relu'"),
        ((*SMALL, "--json", "missing/folder/a.json"), "there is no folder"),
        ((*SMALL, "--json", "."), "is a folder"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_clear_line(arguments: tuple[str, ...], message: str) -> None:
    result = inspect(*arguments)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert "Traceback" not in result.output


def test_a_shape_that_cannot_be_read_is_a_usage_error() -> None:
    result = inspect(SMALL[0], "--input-shape", "3x")
    assert result.exit_code == 2
    assert "--input-shape" in result.stderr


def test_several_inputs_by_name_and_type(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    shapes = ("--input-shape", "ids=3,12", "--input-shape", "mask=3,12")
    types = ("--dtype", "mask=bool", "--dtype", "ids=int64")
    result = inspect("tests.cli.networks:tokens", *shapes, *types, "--threads", "1", "--json", str(path))
    assert result.exit_code == 0, result.output
    found = json.loads(path.read_text())
    assert found["batch"] == 3
    assert found["torch_operators"]["aten.embedding.default"] == 1
    told = " ".join(result.stdout.split())
    assert "aten.embedding.default" in told
    assert "`sparsegen compare` tells their share" in told
    assert "warning: torch itself computes operators" in result.stderr


def test_one_type_for_all_and_the_batch_before_a_shape(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    arguments = ("--input-shape", "12", "--dtype", "int64", "--batch", "5", "--json", str(path))
    assert inspect("tests.cli.networks:tokens", *arguments).exit_code == 0
    assert json.loads(path.read_text())["batch"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--input-shape", "ids=12", "--fallback", "error", "--dtype", "int64"),
            "operator aten.embedding.def",
        ),
        (("--input-shape", "ids=12", "--dtype", "int63"), "dtype is 'int63': give one of torch's, such as"),
        (
            ("--input-shape", "ids=12", "--input-shape", "other=1"),
            "got an unexpected keyword argument 'other'",
        ),
    ],
)
def test_inputs_that_cannot_be(arguments: tuple[str, ...], message: str) -> None:
    result = inspect("tests.cli.networks:tokens", "--threads", "1", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("types", [("a=int64",), ("int64", "int64")])
def test_types_of_no_input(types: tuple[str, ...]) -> None:
    arguments = [text for each in types for text in ("--dtype", each)]
    result = inspect("tests.cli.networks:tokens", "--input-shape", "ids=12", *arguments)
    assert result.exit_code == 2
    assert "by their names" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("errors", "message"), [(["small"], "'small' is no number"), (["1e-3", "gelu=1e-3"], "or each by name")]
)
def test_approximation_as_it_is_typed(errors: list[str], message: str) -> None:
    result = inspect(*SMALL, *(word for error in errors for word in ("--approximate", error)))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
