"""State dicts from files: loaded into modules and programs, or refused with what does not fit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sparsegen.errors import PruningError
from sparsegen.pruning import magnitude
from sparsegen.pruning.weights import load_weights
from tests.pruning.networks import Network, images, network


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pt"


@pytest.mark.parametrize("exported", [False, True])
def test_weights_are_loaded(path: Path, exported: bool) -> None:
    torch.manual_seed(5)
    trained = Network().eval()
    torch.save(trained.state_dict(), path)
    module = network().eval()
    model = torch.export.export(module, (images(),)) if exported else module
    load_weights(model, path)
    called = model.module() if isinstance(model, torch.export.ExportedProgram) else model
    torch.testing.assert_close(called(images()), trained(images()))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_checkpoint_is_unwrapped(path: Path, key: str) -> None:
    trained = Network().eval()
    torch.save({"epoch": 3, key: trained.state_dict(), "optimizer": {"lr": 0.1}}, path)
    model = network().eval()
    assert load_weights(model, path) == (f"{path} is a checkpoint: its '{key}' is loaded",)
    torch.testing.assert_close(model(images()), trained(images()))


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_removed(path: Path, prefix: str, exported: bool) -> None:
    trained = Network().eval()
    state = {f"{prefix}{name}": value for name, value in trained.state_dict().items()}
    torch.save({"state_dict": state}, path)
    module = network().eval()
    model = torch.export.export(module, (images(),)) if exported else module
    notes = load_weights(model, path)
    assert [note.partition(" is removed")[0].strip("'") for note in notes[1:]] == [
        f"{part}." for part in prefix.split(".")[:-1]
    ]
    called = model.module() if isinstance(model, torch.export.ExportedProgram) else model
    torch.testing.assert_close(called(images()), trained(images()))


def test_a_prefix_that_is_the_models_own_stays(path: Path) -> None:
    model = nn.DataParallel(network())
    torch.save(model.state_dict(), path)
    assert load_weights(model, path) == ()


def test_a_checkpoint_of_several_models(path: Path) -> None:
    state = network().state_dict()
    torch.save({"state_dict": state, "model": state}, path)
    with pytest.raises(
        PruningError, match=r"holds 2 state dicts, state_dict and model: save the one to load"
    ):
        load_weights(network(), path)


def test_batch_norm_counts_its_batches(path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    model(images())
    torch.save(model.state_dict(), path)
    other = copy.deepcopy(model)
    other[1].reset_running_stats()  # type: ignore[operator]
    load_weights(other, path)
    assert other[1].num_batches_tracked == 1


def test_a_missing_file() -> None:
    with pytest.raises(PruningError, match=r"there is no file absent.pt: write one with torch.save\(model"):
        load_weights(network(), "absent.pt")


class Code:
    """Unpickling this would run a command."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (Path.touch, (Path("ran"),))  # type: ignore[return-value]


@pytest.mark.parametrize("content", ["module", "code", "text", "empty", "cut"])
def test_files_that_are_not_tensors_alone(path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    if content == "module":
        torch.save(network(), path)
    elif content == "code":
        torch.save({"stem.weight": Code()}, path)
    else:
        torch.save(network().state_dict(), path)
        whole = path.read_bytes()
        path.write_bytes({"text": b"some text\n", "empty": b"", "cut": whole[: len(whole) // 2]}[content])
    with pytest.raises(PruningError, match=r"cannot be read as tensors alone.*write it with torch.save"):
        load_weights(network(), path)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"state_dict": {}, "epoch": 3, "loss": 0.1, "best": 2}, "a dict of state_dict, epoch, loss, ..."),
        ({"model": torch.ones(2), "epoch": 3}, "a dict of model, epoch"),
        ({1: torch.ones(2)}, "a dict of 1"),
        ([torch.ones(2)], "list"),
        (torch.ones(2), "Tensor"),
    ],
)
def test_files_without_a_state_dict(path: Path, content: object, found: str) -> None:
    torch.save(content, path)
    with pytest.raises(PruningError, match=f"holds no state dict but {found}: write it with"):
        load_weights(network(), path)


@pytest.mark.parametrize("exported", [False, True])
def test_state_dicts_that_do_not_fit(path: Path, exported: bool) -> None:
    state = network().state_dict()
    for name in ("stem.weight", "stem.bias", "wide.weight", "wide.bias"):
        state[f"module.{name}"] = state.pop(name)
    state["narrow.weight"] = state["narrow.weight"][:4]
    torch.save(state, path)
    module = network().eval()
    before = copy.deepcopy(module.state_dict())
    model = torch.export.export(module, (images(),)) if exported else module
    with pytest.raises(PruningError) as caught:
        load_weights(model, path)
    assert str(caught.value) == (
        f"{path} does not fit the model: 4 missing: stem.weight, stem.bias, wide.weight, ...; "
        "4 unexpected: module.stem.weight, module.stem.bias, module.wide.weight, ...; "
        "1 of another shape: narrow.weight (4, 12, 1, 1), the model's is (6, 12, 1, 1)"
    )
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_masks_that_are_still_apart(path: Path) -> None:
    pruned = network()
    magnitude(pruned, sparsity=0.5)
    torch.save(pruned.state_dict(), path)
    with pytest.raises(
        PruningError, match=r"masks are still apart: call sparsegen.pruning.finalize\(model\)"
    ):
        load_weights(network(), path)
