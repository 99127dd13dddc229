"""Models by name: zoo, factory, file; and every way a name can be wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import ExportedProgram

from sparsegen.errors import ModelError, OptionError
from sparsegen.frontend import from_torch, load_model, load_program, own_batch, own_model
from tests.frontend.checking import Function, images

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

def leaving():
    raise SystemExit(2)

def two():
    return torch.nn.Bilinear(3, 4, 5)

def scripted():
    return torch.jit.script(Tiny())

def exported():
    return torch.export.export(Tiny().eval(), (torch.ones(2, 6),)).module()

def inference():
    with torch.inference_mode():
        return Tiny()

constant = 3
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a package's module in the current folder."""
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "models.py").write_text(FACTORIES)
    (tmp_path / "own_package" / "half.py").write_text("import a_module_that_is_not_there")
    (tmp_path / "own_package" / "wrong.py").write_text("1 / 0")
    (tmp_path / "own_package" / "script.py").write_text("import sys; sys.exit('usage: script MODEL')")
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
    with pytest.raises(ModelError) as caught:
        load_model(name, **{"batch": 1, **options})
    return str(caught.value)


def misfit(name: str, **options: Any) -> str:
    """The message that a batch or input shape is refused with."""
    with pytest.raises(OptionError) as caught:
        load_model(name, **options)
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
        ("own_package.models:leaving", "leaving() raised SystemExit: 2; it must return"),
        ("own_package.script:Tiny", "importing 'own_package.script' raised SystemExit: usage: script MODEL"),
        (":Tiny", "importing '' raised ValueError"),
    ],
)  # fmt: skip
def test_bad_factory(factories: str, name: str, message: str) -> None:
    found = refused(name)
    assert found.startswith(f"{name}: ")
    assert message in found


def test_factories_of_models_that_cannot_be_compiled_from_a_name(factories: str) -> None:
    message = refused(f"{factories}:two")
    assert message.startswith(
        "forward of Bilinear takes 2 inputs (input1, input2), 1 is given. A model that is"
    )
    assert "with example_inputs" in message
    assert refused(f"{factories}:scripted").startswith("the model itself is TorchScript")


@pytest.mark.parametrize("name", ["exported", "inference"])
def test_factories_of_unusual_models(factories: str, name: str) -> None:
    model, inputs = load_model(f"{factories}:{name}", batch=2, input_shape=(6,))
    graph = from_torch(own_model(model, inputs, in_place=True), inputs)
    assert [layer.shape for layer in graph.layers] == [(2, 2)]


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    message = refused(str(path))
    assert message.startswith(f"{path} is a file, but no .pt2 file: write one with torch.export.save(")
    assert "`sparsegen prune --weights`" in message


def test_a_zoo_that_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pytorchcv").mkdir()
    (tmp_path / "pytorchcv" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pytorchcv", raising=False)
    assert "model_provider.py, cannot be read: install pytorchcv anew" in refused("resnet18")


def test_the_batch_defaults_to_16(factories: str) -> None:
    assert load_model(f"{factories}:Tiny", input_shape=(6,))[1][0].shape == (16, 6)
    assert own_batch(f"{factories}:Tiny", None) == 16
    assert own_batch(f"{factories}:Tiny", 3) == 3


def test_the_batch_defaults_to_the_files_own(program_file: str) -> None:
    assert load_model(program_file)[1][0].shape == (4, 3, 8, 8)
    assert load_model(program_file, input_shape=(3, 8, 8))[1][0].shape == (4, 3, 8, 8)
    assert own_batch(program_file, None) == 4


def test_a_file_with_inputs_of_several_shapes(tmp_path: Path) -> None:
    path = tmp_path / "two.pt2"
    model = Function(lambda image, scale: image * scale)
    torch.export.save(torch.export.export(model, (images(4, 3, 2, 2), images(3, 1, 1))), path)
    for batch in (None, 4):
        _, inputs = load_model(str(path), batch=batch)
        assert [tuple(value.shape) for value in inputs] == [(4, 3, 2, 2), (3, 1, 1)]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((torch.ones(2, dtype=torch.complex64),), "input 'inputs_0' of the program is torch.complex64: give"),
        ((), "the program takes no input: its result is a constant"),
    ],
)
def test_a_file_with_inputs_of_another_type(tmp_path: Path, inputs: tuple[Any, ...], message: str) -> None:
    path = tmp_path / "strange.pt2"
    model = Function(lambda *values: torch.ones(2) * values[0] if values else torch.ones(2) * 2)
    torch.export.save(torch.export.export(model, inputs), path)
    assert refused(str(path), batch=None).startswith(message)


def test_file(program_file: str) -> None:
    program, (value,) = load_model(program_file, batch=4)
    assert isinstance(program, ExportedProgram)
    assert value.shape == (4, 3, 8, 8)


def test_file_of_another_shape(program_file: str) -> None:
    message = misfit(program_file, batch=16)
    assert "exported for inputs of shape (4, 3, 8, 8), batch 16 was asked for" in message
    assert "export with a dynamic batch, and compile with --batches" in message
    message = misfit(program_file, batch=4, input_shape=(3, 9, 9))
    assert "exported for inputs of shape (4, 3, 8, 8), input shape (3, 9, 9) was asked for" in message


def test_file_with_a_dynamic_batch(tmp_path: Path) -> None:
    path = tmp_path / "dynamic.pt2"
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(nn.ReLU().eval(), (images(),), dynamic_shapes=({0: batch},)), path)
    message = refused(str(path), batch=2)
    assert "has a dynamic batch" in message
    assert "--batches 1,4,16" in message
    assert "batches=[1, 4, 16]" in message


def test_file_with_another_dynamic_size(tmp_path: Path) -> None:
    path = tmp_path / "dynamic.pt2"
    width = torch.export.Dim("width")
    torch.export.save(torch.export.export(nn.ReLU().eval(), (images(),), dynamic_shapes=({3: width},)), path)
    message = refused(str(path), batch=None)
    assert "has a dynamic size that is no batch" in message
    assert "static shapes" in message


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
    with pytest.raises(ModelError) as caught:
        load_program(path)
    assert str(caught.value).startswith(f"{path} is not a program that torch {torch.__version__} can read")
    assert "torch.export.save(" in str(caught.value)


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": 1, "input_shape": (3, -1)}])
def test_sizes_that_are_not_positive(options: dict[str, Any]) -> None:
    assert "every size must be a positive whole number" in misfit("resnet18", **options)
