"""`sparsegen compare` as it is typed: bad input is one line and no traceback, good input a table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from sparsegen import cli
from sparsegen.cli.app import app
from sparsegen.compare import run as orchestration
from tests.cli.networks import small

SMALL = ("tests.cli.networks:small", "--input-shape", "3x12x12", "--batch", "2", "--threads", "1")


def save_small() -> None:
    """`small.pt2`, of batch 2, in the current folder."""
    program = torch.export.export(small().eval(), (torch.randn(2, 3, 12, 12),))
    torch.export.save(program, "small.pt2")


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tests.cli.networks:small", "--sparsity", "1"), "0 <= sparsity < 1"),
        (("tests.cli.networks:small", "--sparsity", "-0.5"), "0 <= sparsity < 1"),
        (("tests.cli.networks:small", "--structure", "blocks"), "structure is 'blocks'"),
        (("tests.cli.networks:small", "--structure", "2:4", "--sparsity", "0.7"), "2:4 removes 0.5"),
        (("tests.cli.networks:small", "--structure", "5:4"), "5"),
        ((*SMALL, "--structure", "2:5"), "2"),
        (("tests.cli.networks:small", "--threads", "0"), "threads is 0"),
        (("tests.cli.networks:small", "--batch", "0"), "batch is 0"),
        (("tests.cli.networks:small", "--samples", "0"), "samples is 0"),
        (("tests.cli.networks:small", "--target", "z80"), "z80"),
        (("tests.cli.networks:small", "--database", "absent.jsonl"), "cannot read absent.jsonl"),
        (("tests.cli.networks:small", "--json", "missing/folder/a.json"), "there is no folder"),
        (("tests.cli.networks:small", "--png", "."), "is a folder"),
        ((*SMALL, "--layers", "stage*"), "no pruned layer matches 'stage*'; the pruned layers are: 2, 4"),
        (("tests.cli.networks:absent",), "absent"),
        (("no_such_module:small",), "no_such_module"),
        (("resnet1",), "resnet1"),
        (("broken.pt2",), "broken.pt2"),
        (("missing.pt2",), "missing.pt2"),
        (("tests.cli.networks:one_convolution",), "no convolution to prune"),
        (("tests.cli.networks:not_finite", *SMALL[1:]), "2"),
        (("tests.cli.networks:small", "--input-shape", "1x12x12"), "shape"),
        (("tests.cli.networks:two_inputs",), "takes 2 inputs (input1, input2), 1 is given"),
        (("tests.cli.networks:scripted",), "TorchScript"),
        (("tests.cli.networks:raising", *SMALL[1:]), "module '1' (networks.py, line "),
        (("tests.cli.networks:unsupported", "--fallback", "error", *SMALL[1:]), "aten.cumsum.default"),
        (("tests.cli.networks:linear", *SMALL[1:]), "Check the input shapes"),
        (("weights.pt",), "weights.pt is a file, but no .pt2 file"),
        (("small.pt2", "--batch", "3"), "leave the batch out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_clear_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.pt2").write_bytes(b"not a program")
    torch.save(small().state_dict(), "weights.pt")
    if "small.pt2" in arguments:
        save_small()
    result = compare(*arguments)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("[")]
    assert line.startswith("error: ")
    assert message in line
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [("--input-shape", "3x"), ("--sparsity", "half"), ("--batch", "many"), ("--no-such-option",)],
)
def test_options_that_cannot_be_read_are_usage_errors(arguments: tuple[str, ...]) -> None:
    result = compare("tests.cli.networks:small", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr
    assert "Traceback" not in result.output


def test_a_database_and_none_are_a_usage_error() -> None:
    result = compare("tests.cli.networks:small", "--database", "log.jsonl", "--no-database")
    assert result.exit_code == 2
    assert "--no-database" in result.stderr


def test_an_interrupt_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(orchestration, "prepare", interrupt)
    result = compare("tests.cli.networks:small")
    assert result.exit_code == 130
    assert "Traceback" not in result.output


LEFT_ALONE = """
import atexit, threading
from sparsegen.cli import main
from sparsegen.cli.app import app

@app.command()
def compile() -> None:
    threading.Thread(target=threading.Event().wait).start()  # as long as native code takes
    raise KeyboardInterrupt

atexit.register(print, "cleaned up")
main()
"""


def test_an_interrupt_waits_for_no_thread_and_cleans_up() -> None:
    result = subprocess.run(
        [sys.executable, "-c", LEFT_ALONE, "compile"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, "cleaned up\n", "stopped\n")


def test_help_and_version() -> None:
    assert "compare" in CliRunner().invoke(app, ["--help"]).output
    assert CliRunner().invoke(app, ["--version"]).output.startswith("sparsegen ")
    assert callable(cli.main)


def test_a_comparison_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The C++ compiler behind torch.compile takes longer than everything else here.
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    table, picture = tmp_path / "small.json", tmp_path / "small.png"
    result = compare(
        *SMALL,
        "--samples",
        "2",
        "--layers",
        "4",
        "--no-database",
        "--json",
        str(table),
        "--png",
        str(picture),
    )
    assert result.exit_code == 0, result.output
    assert "10x8x3x3" in result.stdout
    assert "over the best dense" in result.stdout
    assert "timing layer 4" in result.stderr
    assert picture.stat().st_size > 0
    found = json.loads(table.read_text())
    (layer,) = found["layers"]
    assert (layer["name"], layer["weight_shape"], layer["density"]) == ("4", [10, 8, 3, 3], 0.5)
    assert layer["relative_error"] <= 1e-4
    assert found["end_to_end"]["argmax_agreement"] == 1.0


def test_a_file_needs_no_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_small()
    result = compare(
        "small.pt2", "--threads", "1", "--samples", "2", "--no-network", "--layers", "4", "--json", "a.json"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(Path("a.json").read_text())["batch"] == 2


def test_weights_as_they_are_that_a_norm_computes(tmp_path: Path) -> None:
    table = tmp_path / "normed.json"
    result = compare(
        "tests.cli.networks:normed", *SMALL[1:], "--sparsity", "0", "--samples", "2", "--no-network",
        "--json", str(table),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert [layer["name"] for layer in json.loads(table.read_text())["layers"]] == ["2", "4"]


def test_layers_alone_against_csr_too(tmp_path: Path) -> None:
    table, picture = tmp_path / "small.json", tmp_path / "small.png"
    result = compare(
        *SMALL, "--samples", "2", "--structure", "1:4", "--no-network", "--csr", "--json", str(table),
        "--png", str(picture),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    summary = " ".join(result.stdout.splitlines())
    assert "1:4 sparsity, batch 2" in summary
    assert "over the best CSR" in summary
    assert "network" not in result.stderr
    assert picture.stat().st_size > 0
    found = json.loads(table.read_text())
    assert (found["structure"], found["sparsity"], found["end_to_end"]) == ("1:4", 0.75, None)
    assert [layer["density"] for layer in found["layers"]] == [0.25, 0.25]
    assert all(set(layer["csr_ms"]) == {"scipy-csr", "torch-csr"} for layer in found["layers"])
