"""Models by name: from the pytorchcv zoo, from a factory in the user's code, from an exported file."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from sparsegen.errors import ModelError, OptionError, first_line
from sparsegen.frontend.batches import has_one_dynamic_batch
from sparsegen.frontend.calls import call_form, tensor_inputs
from sparsegen.frontend.examples import check_inputs_of, leaves
from sparsegen.frontend.modules import Model, check_call, evaluating
from sparsegen.frontend.named_inputs import SEED, arguments, random_inputs
from sparsegen.frontend.written import MARK, mark
from sparsegen.options import DEFAULT_BATCH, ExampleInput, ModelOptions

DEFAULT_IMAGE = (3, 224, 224)


def load_program(path: str | Path) -> ExportedProgram:
    """The program that `torch.export.save` wrote to `path`.

    Raises ModelError for a missing file and for one that holds no exported program.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"there is no file {path}; write one with torch.export.save(program, '{path}')")
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("not a zip archive")
        extra = {MARK: ""}
        program = torch.export.load(path, extra_files=extra)
        if extra[MARK]:
            mark(program, extra[MARK])
        return program
    except Exception as error:  # torch raises errors of many types for one broken file
        raise ModelError(
            f"{path} is not a program that torch {torch.__version__} can read ({first_line(error)}); "
            f"write one with torch.export.save(torch.export.export(model, inputs), '{path}')"
        ) from error


def load_model(
    name: str,
    *,
    batch: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    inputs: Sequence[ExampleInput] = (),
    default_batch: int = DEFAULT_BATCH,
    dynamic: bool = False,
) -> tuple[Model, tuple[Any, ...]]:
    """A model in evaluation mode and random example inputs of shape (batch, *input_shape).

    `name` is a pytorchcv model (`resnet18`, random weights), `package.module:factory` (called without
    arguments; modules in the current folder are found), or the path of a `.pt2` file. Weights and
    inputs are drawn from a fixed seed. `batch` is `default_batch` where it is None. `input_shape`, without
    the batch, defaults to the size a pytorchcv network was made for, else to (3, 224, 224). `inputs`, in its
    place, are those of a model that takes others. A file fixes all itself; but one whose batch is dynamic is
    made a module for `batch`, where it may be `dynamic`.

    Raises ModelError where the name leads to no model, or to one that takes other inputs, and OptionError
    for a batch or shape that cannot be, or is not the file's.
    """
    if (batch is not None and batch < 1) or any(size < 1 for size in input_shape or ()):
        raise OptionError(
            f"batch {batch}, input shape {input_shape}: every size must be a positive whole number"
        )
    if inputs and input_shape is not None:
        raise OptionError("inputs tell the shapes of all inputs: leave input_shape out")
    if name.endswith(".pt2"):
        if inputs:
            raise OptionError(f"{name} fixes its inputs itself: leave their shapes and dtypes out")
        return _from_file(name, batch, input_shape, dynamic=dynamic)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = evaluating(_from_factory(name) if ":" in name else _from_zoo(name))
    if inputs:
        return model, arguments(model, inputs, batch or default_batch)
    check_call(
        model,
        1,
        {},
        ". A model that is named is called with one image, or with inputs whose shapes are given: "
        "--input-shape for each; Python's sparsegen.compile, .compare, .inspect and .tune take any, with "
        "example_inputs",
    )
    shape = (batch or default_batch, *(input_shape or _native_shape(model)))
    return model, random_inputs([(shape, torch.float32)])


def own_batch(name: str, batch: int | None) -> int:
    """The batch that `load_model` gives a named model where `batch` asks for it: its own where that is None.

    Raises ModelError for a file that cannot be read.
    """
    if batch is None and name.endswith(".pt2"):
        return batch_of(load_model(name)[1])
    return DEFAULT_BATCH if batch is None else batch


def batch_of(example_inputs: tuple[Any, ...]) -> int:
    """The batch of example inputs: the first dimension of the first tensor; 1 where that is a number."""
    tensors = (each for each in leaves(example_inputs, {}) if isinstance(each, torch.Tensor))
    first = next(tensors, None)
    return 1 if first is None or not first.dim() else first.shape[0]


def resolve_model(
    model: str | Model,
    example_inputs: tuple[Any, ...] | None,
    options: ModelOptions,
) -> tuple[Model, tuple[Any, ...]]:
    """A model and its example inputs: loaded if the model was named, else those of the caller.

    Raises OptionError for inputs given with a name, and ModelError for a model without any, beside what
    `load_model` raises.
    """
    if isinstance(model, str):
        if example_inputs is not None:
            raise OptionError("example_inputs go with a model, not with a name: give batch and input_shape")
        return load_model(
            model,
            batch=options.batch,
            input_shape=options.input_shape,
            inputs=options.inputs,
            default_batch=options.default_batch,
        )
    if not example_inputs:
        raise ModelError("a model needs example_inputs: a tuple of what it is called with by position")
    return model, example_inputs


def _native_shape(model: torch.nn.Module) -> tuple[int, ...]:
    """The image that the model was made for, as pytorchcv notes it."""
    size = getattr(model, "in_size", None)
    return (
        (getattr(model, "in_channels", DEFAULT_IMAGE[0]), *size) if isinstance(size, tuple) else DEFAULT_IMAGE
    )


def _from_file(
    path: str, batch: int | None, input_shape: tuple[int, ...] | None, *, dynamic: bool
) -> tuple[Model, tuple[Any, ...]]:
    program = load_program(path)
    check_inputs_of(program)
    form = call_form(program)
    if len(form.names) != form.positional or form.positional != len(form.leaves):
        raise ModelError(
            f"{path} takes inputs by name, or nested ones: give it, loaded, to Python's sparsegen.compile "
            f"with example inputs of that structure"
        )
    values = [node.meta["val"] for node in tensor_inputs(program)]
    shapes = [tuple(value.shape) for value in values]
    model: Model = program
    if dynamic and batch is not None and has_one_dynamic_batch(shapes):
        model = program.module()
        shapes = [shape if isinstance(shape[0], int) else (batch, *shape[1:]) for shape in shapes]
    if any(not isinstance(size, int) for shape in shapes for size in shape):
        raise ModelError(
            f"{path} has a dynamic batch: say for which ones, with `sparsegen compile --batches 1,4,16` or "
            f"Python's sparsegen.compile(..., batches=[1, 4, 16]); what takes no batches needs a file "
            f"that was exported with static shapes"
            if has_one_dynamic_batch(shapes)
            else f"{path} has a dynamic size that is no batch, the first of its inputs' shapes: export it "
            f"with static shapes, once for each size"
        )
    first = shapes[0]
    if batch is not None and first[:1] != (batch,):
        raise OptionError(
            f"{path} was exported for inputs of shape {first}, batch {batch} was asked for: the batch is "
            f"fixed at export; leave the batch out, or export with a dynamic batch, and compile with "
            f"--batches (batches= in Python)"
        )
    if input_shape is not None and first[1:] != input_shape:
        raise OptionError(
            f"{path} was exported for inputs of shape {first}, input shape {input_shape} was asked for: "
            f"shapes are fixed at export; leave the input shape out"
        )
    drawn = iter(random_inputs([(shape, value.dtype) for shape, value in zip(shapes, values, strict=True)]))
    inputs = (form.fixed[place] if place in form.fixed else next(drawn) for place in range(len(form.leaves)))
    return model, tuple(inputs)


def _from_factory(name: str) -> torch.nn.Module:
    module_name, _, factory_name = name.partition(":")
    with _current_folder_importable():
        module = _import(module_name, name)
        factory = getattr(module, factory_name, None)
        if not callable(factory):
            raise ModelError(f"{name}: the module '{module_name}' has no function '{factory_name}'")
        try:
            model: Any = factory()
        except (Exception, SystemExit) as error:  # the user's own code
            raise ModelError(
                f"{name}: {factory_name}() raised {type(error).__name__}: {first_line(error)}; it must "
                f"return a torch.nn.Module when called without arguments"
            ) from error
    if not isinstance(model, torch.nn.Module):
        raise ModelError(
            f"{name}: {factory_name}() returned {type(model).__name__}; it must return a torch.nn.Module"
        )
    return model


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _import(module_name: str, name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # importing runs whatever the module holds
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            raise ModelError(
                f"{name}: there is no module '{module_name}' in the current folder or installed"
            ) from error
        raise ModelError(
            f"{name}: importing '{module_name}' raised {type(error).__name__}: {first_line(error)}"
        ) from error


def _from_zoo(name: str) -> torch.nn.Module:
    modules = zoo_modules(name)
    if name not in modules:
        _check_is_no_file(name)
        close = difflib.get_close_matches(name, modules, n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise ModelError(
            f"pytorchcv has no model '{name}': {hint}A model is a pytorchcv name, "
            f"package.module:factory, or the path of a .pt2 file"
        )
    factory = getattr(_import(modules[name], name), name)
    try:
        model: torch.nn.Module = factory(pretrained=False)
    except Exception as error:  # pytorchcv's own code
        raise ModelError(
            f"pytorchcv's {name} raised {type(error).__name__}: {first_line(error)}; give another model, or "
            f"package.module:factory"
        ) from error
    return model


def _check_is_no_file(name: str) -> None:
    if Path(name).is_file():
        raise ModelError(
            f"{name} is a file, but no .pt2 file: write one with "
            f"torch.export.save(torch.export.export(model, inputs), 'model.pt2'); weights alone are for "
            f"`sparsegen prune --weights`"
        )


def zoo_modules(name: str = "pytorchcv") -> dict[str, str]:
    """The module that defines each of pytorchcv's models, by the model's name.

    Read from the source of pytorchcv's table: importing it imports every model and what only a few of
    them need, as torchvision.
    """
    package = importlib.util.find_spec("pytorchcv")
    if package is None or package.origin is None:
        raise ModelError(
            f"'{name}' is looked up in pytorchcv, which is not installed: pip install --no-deps pytorchcv, "
            f"and 'sparsegen[zoo]' for the rest. Otherwise give package.module:factory or the path "
            f"of a .pt2 file"
        )
    source = Path(package.origin).parent / "model_provider.py"
    try:
        table = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError) as error:
        raise ModelError(
            f"pytorchcv's table of models, {source}, cannot be read: install pytorchcv anew"
        ) from error
    imports = [node for node in table.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"pytorchcv.{node.module}" for node in imports for alias in node.names}
