"""`sparsegen compile`, `verify` and `run` as they are typed: a file, whole, that runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import sparsegen
from sparsegen.cli.app import app
from tests.cli.networks import small

MODEL = ("tests.cli.networks:small", "--input-shape", "3x12x12")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_compiled_checked_and_run() -> None:
    made = call(
        *("compile", *MODEL, "-o", "m.sparsegen", "--targets", "haswell,znver4", "--batches", "1,2"),
        *("--threads", "1", "--json", "m.json"),
    )
    assert made.exit_code == 0, made.output
    assert "compiling for znver4, batch 2" in made.stderr
    assert "saved as m.sparsegen" in made.stdout
    told = json.loads(Path("m.json").read_text())
    assert [(each["target"], each["batch"]) for each in told["variants"]] == [
        ("znver4", 1),
        ("znver4", 2),
        ("haswell", 1),
        ("haswell", 2),
    ]
    assert told["file_bytes"] == Path("m.sparsegen").stat().st_size
    x = torch.randn(3, 3, 12, 12)
    np.save("x.npy", x.numpy())
    checked = call("verify", "m.sparsegen")
    assert checked.exit_code == 0, checked.output
    assert "haswell, 1 thread, batch 2" in checked.stdout
    assert "m.sparsegen is whole" in checked.stdout
    run = call("run", "m.sparsegen", "--input", "x.npy", "--output", "y.npy")
    assert run.exit_code == 0, run.output
    assert "output: float32, (3, 4)" in run.stdout
    with torch.no_grad():
        np.testing.assert_allclose(np.load("y.npy"), small().eval()(x).numpy(), rtol=1e-4, atol=1e-5)


def test_a_model_is_pruned_for_a_trial() -> None:
    arguments = ("--targets", "haswell", "--threads", "1")
    for path, pruned in (("dense", ()), ("sparse", ("--sparsity", "0.9"))):
        made = call("compile", *MODEL, "-o", path, *arguments, *pruned)
        assert made.exit_code == 0, made.output
    dense, sparse = (sparsegen.load(path).layers for path in ("dense", "sparse"))
    densities = [[layer["density"] for layer in layers] for layers in (dense, sparse)]  # type: ignore[index]
    assert min(densities[0]) == 1
    assert min(densities[1]) < 0.2


def test_a_program_with_a_dynamic_batch() -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(small().eval(), (torch.randn(2, 3, 12, 12),), dynamic_shapes=({0: batch},))
    torch.export.save(program, "m.pt2")
    refused = call("compile", "m.pt2", "-o", "m", "--targets", "haswell")
    assert refused.exit_code == 1
    assert "has a dynamic batch: say for which ones, with `sparsegen compile --batches" in refused.stderr
    made = call("compile", "m.pt2", "-o", "m", "--targets", "haswell", "--batches", "1,3", "--threads", "1")
    assert made.exit_code == 0, made.output
    x = torch.randn(3, 3, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(sparsegen.load("m")(x), small().eval()(x), rtol=1e-4, atol=1e-5)
    assert sparsegen.load("m")(x[:2]).shape == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compile", *MODEL, "-o", "none/m"), "there is no folder none"),
        (("compile", *MODEL, "-o", "m.onnx"), "let the path end in .sparsegen or .safetensors, or"),
        (("compile", *MODEL, "-o", "m", "--targets", "z80"), "no CPU that LLVM knows"),
        (("compile", *MODEL, "-o", "m", "--targets", "haswell,haswell"), "give each CPU once"),
        (("compile", *MODEL, "-o", "m", "--batches", "1,0"), "give at least 1"),
        (("compile", *MODEL, "-o", "m", "--batches", "2,2"), "give each of them once"),
        (("compile", *MODEL, "-o", "m", "--structure", "round"), "structure is 'round'"),
        (("verify", "none"), "none: the file cannot be opened"),
        (("run", "none", "--input", "x.npy", "--output", "y.npy"), "--input x.npy cannot be read"),
        (("run", "none", "--input", "x.npy", "--output", "y.txt"), "let the path end in .npy or .npz"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") or "\nerror: " in result.stderr
    assert message in result.stderr.splitlines()[-1]
    assert not Path("m").exists()


def test_numbers_that_are_none() -> None:
    result = call("compile", *MODEL, "-o", "m", "--batches", "few")
    assert result.exit_code == 2
    assert "1,4,16" in result.stderr


def test_damage_is_found() -> None:
    assert call("compile", *MODEL, "-o", "m", "--targets", "haswell").exit_code == 0
    content = bytearray(Path("m").read_bytes())
    content[-1] ^= 1
    Path("m").write_bytes(content)
    result = call("verify", "m")
    assert result.exit_code == 1
    assert "is not what its checksum says" in result.stderr


def test_files_for_other_cpus_are_checked_too() -> None:
    assert call("compile", *MODEL, "-o", "m", "--targets", "bdver4").exit_code == 0
    result = call("verify", "m")
    assert result.exit_code == 0, result.output
    assert "it does not run here: it was compiled for bdver4" in result.stdout
