"""`sparsegen prune` as it is typed: bad input is one line and no traceback, good input a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from sparsegen.cli.app import app
from sparsegen.frontend import load_program
from tests.cli.networks import small

MODEL = "tests.cli.networks:small"
SMALL = (MODEL, "--input-shape", "3x12x12", "--batch", "2")


def prune(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["prune", *arguments])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def zeros(path: str) -> dict[str, float]:
    """Share of zeros of every weight of the program."""
    state = load_program(path).state_dict
    return {
        name.removesuffix(".weight"): float((value == 0).double().mean())
        for name, value in state.items()
        if name.endswith(".weight")
    }


STRUCTURES = {
    ("--method", "vector", "--rows", "2"): f"{MODEL}, vector:2: 2 layers",
    ("--method", "n_m", "--n", "1", "--m", "4", "--rows", "2"): f"{MODEL}, 1:4x2: 2 layers",
    ("--method", "block", "--block", "2x4"): f"{MODEL}, block:2x4: 2 layers",
    ("--method", "kernel", "--rows", "2"): f"{MODEL}, kernel:2: 2 layers",
    ("--structure", "kernel:2", "--sparsity", "0.75"): f"{MODEL}, kernel:2: 2 layers",
    ("--structure", "1:4x2"): f"{MODEL}, 1:4x2: 2 layers",
}
"""What the last line of the table calls what these options make."""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), {"2": 0.5, "4": 0.5}),
        (("--method", "magnitude", "--sparsity", "0.75"), {"2": 0.75, "4": 0.75}),
        (("--method", "vector", "--rows", "2"), {"2": 0.5, "4": 0.5}),
        (("--method", "n_m", "--n", "1", "--m", "4", "--rows", "2"), {"2": 0.75, "4": 0.75}),
        (("--method", "block", "--block", "2x4"), {"2": 0.5, "4": 0.5}),
        (("--linear", "--skip", "0", "--skip", "[24]"), {"7": 0.5}),
        (("--method", "kernel", "--rows", "2"), {"2": 0.5, "4": 0.5}),
        (("--structure", "kernel:2", "--sparsity", "0.75"), {"2": 0.75, "4": 0.75}),
        (("--structure", "1:4x2"), {"2": 0.75, "4": 0.75}),
    ],
    ids=" ".join,
)
def test_a_pruned_program_is_saved(arguments: tuple[str, ...], expected: dict[str, float]) -> None:
    result = prune(*SMALL, *arguments, "-o", "pruned.pt2")
    assert result.exit_code == 0, result.output
    assert STRUCTURES.get(arguments, "unstructured") in result.stdout
    assert "note:" not in result.stderr
    assert zeros("pruned.pt2") == {"0": 0.0, "2": 0.0, "4": 0.0, "7": 0.0, **expected}
    assert "saved as pruned.pt2" in result.stdout
    for name, share in expected.items():
        row = next(line.split() for line in result.stdout.splitlines() if line.split()[:1] == [name])
        assert row[2] == f"{share:.1%}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("--structure", "vector:2"), ("--method", "vector", "--rows", "2")),
        (("--structure", "2:4"), ("--method", "n_m", "--n", "2", "--m", "4")),
        (("--structure", "block:2x4"), ("--method", "block", "--block", "2x4")),
        (("--structure", "unstructured"), ()),
        (
            ("--structure", "column-combined:annealing"),
            ("--method", "column_combine", "--partition", "annealing"),
        ),
    ],
    ids=lambda options: " ".join(options),
)
def test_structures_are_what_methods_make(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    for options, path in ((one, "one.pt2"), (other, "other.pt2")):
        result = prune(*SMALL, *options, "-o", path)
        assert result.exit_code == 0, result.output
    states = [load_program(path).state_dict for path in ("one.pt2", "other.pt2")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--structure", "kernel:4", "--method", "kernel", "--rows", "2"),
            "--structure kernel:4 says what to prune: leave --method and --rows out",
        ),
        (("--structure", "kernel:0"), "rows is 0: give a whole number from 1 to"),
        (("--structure", "kernel:99999999999999999999"), "give a whole number from 1 to"),
        (
            ("--structure", "kernals"),
            "structure is 'kernals': choose one of unstructured or unstructured:global; vector",
        ),
        (("--structure", "kernel:64", "--sparsity", "0.99"), "a sparsity of 0.99 takes them all"),
        (("--structure", "2:4", "--sparsity", "0.7"), "2:4 removes 0.5 of the weights"),
        (("--structure", "2:4", "--sparsity", "0"), "--structure 2:4 says the share of zeros"),
        (
            ("--structure", "vector:4", "--budget-ms", "1"),
            "--structure vector:4 says it: give --structure kernel",
        ),
        (("--structure", "kernel:4", "--sparsity", "0.5", "--budget-ms", "1"), "--sparsity goes with"),
        (("--structure", "kernel:4", "--group", "4"), "--group goes with column-combined, not with kernel"),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, tuple) else "",
)
def test_structures_that_cannot_be(arguments: tuple[str, ...], message: str) -> None:
    result = prune(*SMALL, *arguments, "-o", "pruned.pt2")
    assert result.exit_code != 0
    assert message in " ".join(result.stderr.split())
    assert not Path("pruned.pt2").exists()


def test_what_could_not_be_had_is_told() -> None:
    arguments = ("--structure", "kernel:64", "--sparsity", "0.05", "--skip", "[07]")
    result = prune(*SMALL, *arguments, "-o", "pruned.pt2", "--json", "pruned.json")
    assert result.exit_code == 0, result.output
    notes = [line.removeprefix("note: ") for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert len(notes) == 4
    assert notes[0] == (
        "layer '2': 64 output channels together were asked for, and it got 8, which are all that it has"
    )
    assert notes[1].startswith(
        "layer '2' of shape (8, 8, 3, 3): a sparsity of 0.05 was asked for, and it got 0"
    )
    layers = json.loads(Path("pruned.json").read_text())["layers"]
    assert [note for layer in layers for note in layer["notes"]] == notes


def test_global_pruning_shares_one_threshold() -> None:
    result = prune(*SMALL, "--method", "global", "--sparsity", "0.5", "-o", "pruned.pt2")
    assert result.exit_code == 0, result.output
    state = load_program("pruned.pt2").state_dict
    together = torch.cat([state[name].flatten() for name in ("2.weight", "4.weight")])
    assert float((together == 0).double().mean()) == 0.5


def test_columns_are_combined_with_progress_and_a_report() -> None:
    result = prune(
        *SMALL, "--structure", "column-combined:annealing", "--sparsity", "0.8", "--group", "4",
        "--conflicts", "1", "--seed", "3", "-o", "pruned.pt2", "--json", "pruned.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "[2/2] combining the columns of layer 4" in result.stderr
    assert "% packed" in result.stdout
    found = json.loads(Path("pruned.json").read_text())
    assert found["options"] == {
        "sparsity": 0.8,
        "group": 4,
        "conflicts": 1.0,
        "method": "annealing",
        "seed": 3,
    }
    assert (found["schema"], found["structure"]) == (2, "column-combined:annealing")
    assert "method" not in found
    assert [layer["name"] for layer in found["layers"]] == ["2", "4"]
    for layer in found["layers"]:
        assert layer["sparsity"] == zeros("pruned.pt2")[layer["name"]]
        assert layer["detail"]["groups"] >= 72 / 4


def test_a_budget_is_measured_and_kept() -> None:
    arguments = ("--structure", "kernel:2", "--ratios", "2:4,4:4", "--threads", "1", "--skip", "[027]")
    result = prune(*SMALL, *arguments, "--budget-ms", "1000", "-o", "pruned.pt2")
    assert result.exit_code == 0, result.output
    assert "timing layer 4 at 2 ratios" in result.stderr
    assert f"{MODEL}, kernel:2 within 1000 ms: 1 layer" in result.stdout
    assert zeros("pruned.pt2")["4"] == 0
    result = prune(*SMALL, *arguments, "--budget-ms", "1e-6", "-o", "other.pt2")
    assert result.exit_code == 1
    assert "the budget is 1e-06 ms, and the fastest ratios take" in result.stderr
    assert not Path("other.pt2").exists()


def test_the_result_equals_the_pruned_model_and_can_be_pruned_further() -> None:
    assert prune(*SMALL, "-o", "half.pt2").exit_code == 0
    result = prune("half.pt2", "--sparsity", "0.75", "-o", "half.pt2")
    assert result.exit_code == 1
    assert "--output half.pt2 is MODEL half.pt2, which would be lost" in result.stderr
    assert zeros("half.pt2")["2"] == 0.5
    result = prune("half.pt2", "--sparsity", "0.75", "-o", "more.pt2")  # with the file's own batch
    assert result.exit_code == 0, result.output
    assert (zeros("more.pt2")["2"], zeros("more.pt2")["4"]) == (0.75, 0.75)
    x = torch.randn(2, 3, 12, 12)
    model = small()
    model.load_state_dict(load_program("more.pt2").state_dict)
    torch.testing.assert_close(load_program("more.pt2").module()(x), model(x))
    result = prune("more.pt2", "--batch", "2", "-o", "half.pt2")
    assert result.exit_code == 1
    assert "layer '2' is 75.0% zeros already, more than the 50.0% asked for" in result.stderr
    assert zeros("half.pt2")["2"] == 0.5


@pytest.mark.parametrize("model", ["factory", "file"])
def test_weights_come_from_a_state_dict(model: str) -> None:
    trained = small()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1)
    torch.save(trained.state_dict(), "trained.pt")
    arguments: tuple[str, ...] = SMALL
    if model == "file":
        torch.export.save(torch.export.export(small().eval(), (torch.randn(2, 3, 12, 12),)), "dense.pt2")
        arguments = ("dense.pt2", "--batch", "2")
    result = prune(*arguments, "--weights", "trained.pt", "-o", "pruned.pt2")
    assert result.exit_code == 0, result.output
    state = load_program("pruned.pt2").state_dict
    assert torch.equal(state["0.weight"], trained.state_dict()["0.weight"])
    kept = state["2.weight"] != 0
    assert torch.equal(state["2.weight"][kept], trained.state_dict()["2.weight"][kept])


def test_weights_come_from_a_checkpoint_of_a_wrapped_model() -> None:
    trained = torch.nn.DataParallel(small())
    torch.save({"state_dict": trained.state_dict(), "epoch": 3}, "trained.pt")
    result = prune(*SMALL, "--weights", "trained.pt", "-o", "pruned.pt2")
    assert result.exit_code == 0, result.output
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: trained.pt is a checkpoint: its 'state_dict' is loaded",
        "note: 'module.' is removed from the names in trained.pt",
    ]


def test_weights_that_a_norm_computes_are_pruned_as_they_are() -> None:
    result = prune("tests.cli.networks:normed", *SMALL[1:], "-o", "pruned.pt2")
    assert result.exit_code == 0, result.output
    assert zeros("pruned.pt2") == {"0": 0.0, "2": 0.5, "4": 0.5, "7": 0.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sparsity", "1"), "0 <= sparsity < 1"),
        (("--method", "vector", "--rows", "0"), "rows is 0"),
        (("--method", "n_m", "--n", "5", "--m", "4"), "ratio is 5:4"),
        (("--method", "n_m", "--n", "2", "--m", "3"), "layer '2' has 8 input channels: 2:3 needs a multiple"),
        (("--method", "n_m", "--n", "2"), "N:M needs --m"),
        (("--method", "block", "--block", "4"), "the block shape is (4,)"),
        (("--method", "column_combine", "--group", "0"), "group is 0"),
        (("--method", "column_combine", "--conflicts", "-1"), "conflicts is -1.0"),
        (("--method", "budget"), "budget needs --budget-ms"),
        (("--method", "budget", "--budget-ms", "1", "--ratios", "2"), "'2' in '2' is no ratio"),
        (("--method", "vector", "--block", "4x4"), "--block goes with block, not with vector"),
        (("--threads", "1"), "--threads goes with budget, not with unstructured"),
        (("--skip", "features.*"), "no layer matches 'features.*'"),
        (("--skip", "*"), "no convolution to prune"),
        (("--batch", "0"), "batch is 0"),
        (
            ("--input-shape", "1x12x12"),
            "cannot be called with the inputs that are given: too many positional",
        ),
        (("-o", "pruned.pt"), "let the path end in .pt2"),
        (("-o", "absent/pruned.pt2"), "there is no folder absent"),
        (("--json", "."), "--json . is a folder"),
        (("--weights", "absent.pt"), "there is no file absent.pt"),
        (("--weights", "text.pt"), "text.pt cannot be read as tensors alone"),
        (("--weights", "other.pt"), "other.pt does not fit the model: 6 missing: 2.weight, 2.bias"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_clear_line(arguments: tuple[str, ...], message: str) -> None:
    Path("text.pt").write_text("no weights")
    torch.save({"0.weight": torch.ones(1), "0.bias": torch.ones(8)}, "other.pt")
    result = prune(*SMALL, "-o", "pruned.pt2", *arguments)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("[")]
    assert line.startswith("error: ")
    assert message in line
    assert "Traceback" not in result.output
    assert not Path("pruned.pt2").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tests.cli.networks:one_convolution", "no convolution to prune"),
        ("tests.cli.networks:not_finite", "layer '2' has NaN or infinite weights"),
        ("tests.cli.networks:absent", "absent"),
        ("missing.pt2", "there is no file missing.pt2"),
    ],
)
def test_models_that_cannot_be_pruned(model: str, message: str) -> None:
    result = prune(model, *SMALL[1:], "-o", "pruned.pt2")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--method", "best"),
        ("--block", "4x0"),
        ("--input-shape", "3x"),
        ("--sparsity", "half"),
        ("--partition", "best"),
    ],
)
def test_options_that_cannot_be_read_are_usage_errors(arguments: tuple[str, ...]) -> None:
    result = prune(*SMALL, "-o", "pruned.pt2", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr
    assert "Traceback" not in result.output


def test_an_output_is_needed_and_help_names_the_verb() -> None:
    assert prune(*SMALL).exit_code == 2
    assert "prune" in CliRunner().invoke(app, ["--help"]).output


def test_an_image_that_does_not_fit() -> None:
    result = prune(MODEL, "--input-shape", "1x12x12", "-o", "pruned.pt2")
    assert result.exit_code == 1
    assert "error: torch.export cannot trace Sequential" in result.stderr
