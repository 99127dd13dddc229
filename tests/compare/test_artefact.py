"""A file beside the rivals: timed in turn with them where it is of this model, and otherwise refused."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

import sparsegen
from sparsegen.compare import compare
from sparsegen.compare.artefact import open_artefact
from sparsegen.compare.picture import draw
from sparsegen.compare.reading import read_comparison
from sparsegen.compare.report import Accuracy, ArtefactPart, Comparison
from sparsegen.compare.table import print_comparison
from sparsegen.errors import OptionError, ProgramError
from tests.cli.networks import small
from tests.compare.conftest import timing

X = (torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)),)
Save = Callable[..., Path]


@pytest.fixture(scope="module")
def save(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """The file of a model for inputs, by default that of `small` as it is; the same file for the same."""
    folder = tmp_path_factory.mktemp("artefacts")

    def saved(name: str, model: nn.Module, *inputs: torch.Tensor, threads: int = 1) -> Path:
        path = folder / name
        if not path.exists():
            compiled = sparsegen.compile(
                model.eval(), inputs, threads=threads, target="haswell", database=None
            )
            compiled.save(path)
        return path

    return saved


def test_a_file_of_the_same_model_is_timed(
    save: Save, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The C++ compiler behind torch.compile takes longer than everything else here.
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    found = compare(
        "tests.cli.networks:small", sparsity=0.0, batch=2, input_shape=(3, 12, 12), threads=1, samples=3,
        layers=None, artefact=save("small", small(), *X),
    )  # fmt: skip
    network = found.end_to_end
    assert network is not None
    assert network.race.artefact is not None
    assert network.race.artefact.median_ms > 0
    assert network.artefact is not None
    assert (network.artefact.target, network.artefact.accuracy.passes) == ("haswell", True)
    assert network.race.best_rival.startswith("torch")
    (tmp_path / "a.json").write_text(found.to_json())
    assert read_comparison(tmp_path / "a.json") == found


def other(out: int = 4) -> nn.Module:
    """`small`, with other weights in its last layer."""
    model = small()
    model[-1] = nn.Linear(10, out)
    return model


@pytest.mark.parametrize(
    ("name", "model", "inputs", "threads", "message"),
    [
        ("batch", small, (X[0][:1],), 1, r"not for inputs of 2x3x12x12 on 1 thread: it is for 1x3x12x12 on"),
        ("threads", small, X, 2, r"on 1 thread: it is for 2x3x12x12 on 2 threads; give --batch and"),
        ("weights", other, X, 1, r"pruned otherwise: its result differs from this one's in float64 by \de"),
        ("shape", lambda: other(5), X, 1, r"another model: its results have shapes 2x5, and this one's 2x4"),
    ],
)  # fmt: skip
def test_other_files_are_refused(
    save: Save,
    name: str,
    model: Callable[[], nn.Module],
    inputs: tuple[torch.Tensor],
    threads: int,
    message: str,
) -> None:
    artefact = open_artefact(save(name, model(), *inputs, threads=threads), 1)
    with torch.no_grad(), pytest.raises(OptionError, match=message):
        artefact.of_model(small().eval(), X, 1)


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


@pytest.mark.filterwarnings("ignore:torch itself computes")
def test_a_model_with_other_inputs_is_refused(save: Save) -> None:
    artefact = open_artefact(save("doubled", Doubled(), torch.ones(2), torch.ones(2)), 1)
    with pytest.raises(OptionError, match="not for inputs of 2 on 1 thread: it is for 2 and 2 on 1 thread"):
        artefact.of_model(nn.ReLU(), (torch.ones(2),), 1)
    numbers = open_artefact(save("numbers", nn.ReLU(), torch.ones(2, dtype=torch.float64)), 1)
    with pytest.raises(OptionError, match=r"is of a model with other inputs: .*float64"):
        numbers.of_model(nn.ReLU(), (torch.ones(2),), 1)


class Sums(nn.Module):
    """Its second half is torch's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cumsum(torch.relu(x), 1)


def test_a_model_that_needs_torch_is_taken(save: Save) -> None:
    with pytest.warns(UserWarning, match="cumsum"):
        path = save("sums", Sums(), torch.ones(2, 5))
    running = open_artefact(path, 1).of_model(Sums(), (torch.ones(2, 5),), 1)
    assert running.part.accuracy.passes
    assert torch.equal(running.call(), Sums()(torch.ones(2, 5)))


def test_files_that_are_none_are_refused_before_any_work(tmp_path: Path) -> None:
    told = list[str]()
    with pytest.raises(ProgramError, match="none: the file cannot be opened"):
        compare(
            "tests.cli.networks:small",
            artefact=tmp_path / "none",
            on_progress=lambda text, done, total: told.append(text),
        )
    assert not told
    with pytest.raises(OptionError, match="an artefact is a whole network"):
        compare("tests.cli.networks:small", artefact=tmp_path / "none", network=False)


def test_the_table_and_the_picture_have_it(comparison: Comparison) -> None:
    network = comparison.end_to_end
    assert network is not None
    race = dataclasses.replace(network.race, artefact=timing(1.1 * network.race.sparse.median_ms))
    part = ArtefactPart("m.sparsegen", "haswell", Accuracy(1e-6, 1e-7))
    with_file = dataclasses.replace(
        comparison, end_to_end=dataclasses.replace(network, race=race, artefact=part)
    )
    assert race.best_rival == network.race.best_rival
    console = Console(width=120, file=io.StringIO())
    print_comparison(with_file, console)
    (line,) = [each for each in console.file.getvalue().splitlines() if "artefact" in each]  # type: ignore[attr-defined]
    assert "1.10x" in line
    labels = [label.get_text() for axes in draw(with_file).axes for label in axes.get_xticklabels()]
    assert labels[-1] == "sparsegen, a file"
    told = json.loads(with_file.to_json())["end_to_end"]
    assert told["artefact"] == {
        "path": "m.sparsegen",
        "target": "haswell",
        "max_abs_error": 1e-6,
        "relative_error": 1e-7,
        "accurate": True,
    }
    assert told["artefact_ms"] == race.artefact.median_ms  # type: ignore[union-attr]
    assert "artefact" in told["spread_ms"]
