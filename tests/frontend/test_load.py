"""Models by name: zoo, factory, file; and every way a name can be wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import ExportedProgram

from sparsegen.errors import SparsegenError
from sparsegen.frontend import load_model, load_program
from tests.frontend.checking import images

FACTORIES = """
import torch

class Tiny(torch.nn.Linear):
    def __init__(self):
        super().__init__(6, 2)

def sized():
    model = Tiny()
    model.in_size = (8, 9)
    model.in_channels = 1
    return model

def broken():
    raise ValueError("no weights here")

def needs(argument):
    return Tiny()

def number():
    return 3

constant = 3
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a package's module in the current folder."""
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "models.py").write_text(FACTORIES)
    (tmp_path / "own_package" / "half.py").write_text("import a_module_that_is_not_there")
    (tmp_path / "own_package" / "wrong.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "own_package"]:
        monkeypatch.delitem(sys.modules, name)
    return "own_package.models"


@pytest.fixture
def program_file(tmp_path: Path) -> str:
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(nn.Conv2d(3, 2, 1).eval(), (images(4, 3, 8, 8),)), path)
    return str(path)


def refused(name: str, **options: Any) -> str:
    with pytest.raises(SparsegenError) as caught:
        load_model(name, **{"batch": 1, **options})
    return str(caught.value)


def test_zoo() -> None:
    pytest.importorskip("pytorchcv")
    model, (value,) = load_model("resnet20_cifar10", batch=3)
    assert isinstance(model, nn.Module)
    assert not any(module.training for module in model.modules())
    assert value.shape == (3, 3, 32, 32)
    _, (value,) = load_model("resnet20_cifar10", batch=2, input_shape=(3, 16, 16))
    assert value.shape == (2, 3, 16, 16)


def test_weights_and_inputs_are_the_same_every_time() -> None:
    pytest.importorskip("pytorchcv")
    torch.manual_seed(5)
    first, (value,) = load_model("resnet20_cifar10", batch=1)
    torch.manual_seed(6)
    second, (again,) = load_model("resnet20_cifar10", batch=1)
    assert isinstance(first, nn.Module)
    assert isinstance(second, nn.Module)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(value, again)


def test_the_callers_random_state_is_kept(factories: str) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_model(f"{factories}:Tiny", batch=1)
    assert torch.equal(torch.rand(3), expected)


def test_unknown_zoo_model() -> None:
    pytest.importorskip("pytorchcv")
    message = refused("resnet81")
    assert message.startswith("pytorchcv has no model 'resnet81': did you mean resnet18")
    assert "package.module:factory" in message
    assert "did you mean" not in refused("zzzzzzzz")


def test_zoo_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorchcv", None)
    assert "not installed: pip install --no-deps pytorchcv" in refused("resnet18")


def test_factory(factories: str) -> None:
    path = list(sys.path)
    model, (value,) = load_model(f"{factories}:Tiny", batch=2, input_shape=(6,))
    assert isinstance(model, nn.Linear)
    assert not model.training
    assert value.shape == (2, 6)
    assert sys.path == path


def test_input_shape_defaults(factories: str) -> None:
    assert load_model(f"{factories}:Tiny", batch=2)[1][0].shape == (2, 3, 224, 224)
    assert load_model(f"{factories}:sized", batch=2)[1][0].shape == (2, 1, 8, 9)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_package.models:Tiny", "there is no module 'no_package.models' in the current folder"),
        ("own_package.other:Tiny", "there is no module 'own_package.other' in the current folder"),
        ("own_package.half:Tiny", "raised ModuleNotFoundError: No module named 'a_module_that"),
        ("own_package.wrong:Tiny", "importing 'own_package.wrong' raised ZeroDivisionError"),
        ("own_package.models:Tinny", "the module 'own_package.models' has no function 'Tinny'"),
        ("own_package.models:constant", "has no function 'constant'"),
        ("own_package.models:broken", "broken() raised ValueError: no weights here; it must return"),
        ("own_package.models:needs", "needs() raised TypeError: needs() missing 1 required"),
        ("own_package.models:number", "number() returned int; it must return a torch.nn.Module"),
        (":Tiny", "importing '' raised ValueError"),
    ],
)  # fmt: skip
def test_bad_factory(factories: str, name: str, message: str) -> None:
    found = refused(name)
    assert found.startswith(f"{name}: ")
    assert message in found


def test_file(program_file: str) -> None:
    program, (value,) = load_model(program_file, batch=4)
    assert isinstance(program, ExportedProgram)
    assert value.shape == (4, 3, 8, 8)


def test_file_of_another_shape(program_file: str) -> None:
    message = refused(program_file, batch=16)
    assert "exported for inputs of shape (4, 3, 8, 8), batch 16 was asked for" in message
    assert "export once per batch size" in message
    message = refused(program_file, batch=4, input_shape=(3, 9, 9))
    assert "exported for inputs of shape (4, 3, 8, 8), input shape (3, 9, 9) was asked for" in message


def test_file_with_a_dynamic_batch(tmp_path: Path) -> None:
    path = tmp_path / "dynamic.pt2"
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(nn.ReLU().eval(), (images(),), dynamic_shapes=({0: batch},)), path)
    message = refused(str(path), batch=2)
    assert "has a dynamic batch" in message
    assert "compile once per batch size" in message


def test_missing_file(tmp_path: Path) -> None:
    assert refused("nothing/here.pt2").startswith("there is no file nothing/here.pt2; write one with")
    assert refused(str(tmp_path / "a.pt2")).startswith(f"there is no file {tmp_path / 'a.pt2'}")


@pytest.mark.parametrize("content", ["text", "state", "cut"])
def test_unreadable_file(tmp_path: Path, program_file: str, content: str) -> None:
    path = tmp_path / "bad.pt2"
    if content == "text":
        path.write_text("no archive")
    elif content == "state":
        torch.save(nn.Linear(2, 2).state_dict(), path)
    else:
        path.write_bytes(Path(program_file).read_bytes()[:1000])
    with pytest.raises(SparsegenError) as caught:
        load_program(path)
    assert str(caught.value).startswith(f"{path} is not a program that torch {torch.__version__} can read")
    assert "torch.export.save(" in str(caught.value)


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": 1, "input_shape": (3, -1)}])
def test_sizes_that_are_not_positive(options: dict[str, Any]) -> None:
    assert "every size must be a positive whole number" in refused("resnet18", **options)
