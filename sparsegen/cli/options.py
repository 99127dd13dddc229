"""What several verbs take: model, image, batch, CPU, pruning, a file of results; shapes as they are typed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sparsegen.errors import OptionError
from sparsegen.options import Approximate, ExampleInput, ModelOptions, OneAtATime
from sparsegen.outputs import PICTURES

_EXAMPLE = "3x224x224"

PICTURE = "as its suffix says: " + ", ".join(PICTURES)
"""What help says of files of pictures."""

ModelName = Annotated[
    str,
    typer.Argument(
        help="A name of pytorchcv's (resnet18), package.module:factory, or a .pt2 file.", metavar="MODEL"
    ),
]
TargetName = Annotated[str, typer.Option(help="LLVM's name of a CPU, such as haswell or znver4.")]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        help="Shape of one image, such as 3x224x224; once an input where there are several. With commas the "
        "batch is part of it: 1,128. NAME=SHAPE gives an input by name.",
        show_default="the model's",
        metavar="CxHxW",
    ),
]
InputType = Annotated[
    list[str] | None,
    typer.Option(
        "--dtype",
        help="Type of the inputs, such as int64; once for all, or once an input; NAME=TYPE gives it by name.",
        show_default="float32",
        metavar="TYPE",
    ),
]
FallbackName = Annotated[
    Literal["torch", "error"],
    typer.Option(
        "--fallback", help="What becomes of operators without a kernel: torch computes them, or error."
    ),
]
Sparsity = Annotated[
    float | None,
    typer.Option(help="Share of weights to prune; 0 leaves them be.", show_default="N:M's, else 0.5"),
]
STRUCTURES = (
    "unstructured[:global], vector:ROWS, kernel:ROWS, block:ROWSxCOLUMNS, column-combined[:annealing], "
    "2:4, 2:4xROWS."
)
"""The texts of structures, as help lists them."""
StructureName = Annotated[str, typer.Option(help=STRUCTURES)]
Batch = Annotated[
    int | None,
    typer.Option(
        help="Images per call.", show_default=f"{ModelOptions.default_batch}, or the .pt2 file's own"
    ),
]
SingleBatch = Annotated[
    int | None,
    typer.Option(help="Images per call.", show_default=f"{OneAtATime.default_batch}, or the .pt2 file's own"),
]
"""Of verbs that look at one input at a time."""
Winograd = Annotated[
    bool,
    typer.Option(
        "--winograd/--no-winograd",
        help="Compute convolutions by Winograd's filtering where that is faster: less exact.",
    ),
]
ApproximateName = Annotated[
    list[str] | None,
    typer.Option(
        "--approximate",
        help="Largest absolute error of functions such as gelu and silu in our kernels: piecewise linear "
        "within it where that is faster. 1e-3, or by name, as often as wanted: gelu=1e-2.",
        show_default="all exact",
        metavar="[NAME=]ERROR",
    ),
]
JsonFile = Annotated[Path | None, typer.Option(help="Write the results to this file.", metavar="FILE")]


def refuse_others(context: typer.Context, option: str, taken: Collection[str], why: str) -> None:
    """Raise OptionError, which names them, for parameters that were given and are not of those `taken`.

    option: what the others have no meaning with; `why` says so. `taken` are names of the verb's parameters.
    """
    beside = [each for each in context.command.params if each.name in taken and _spelled(each) != option]
    others = [
        _spelled(each, context.params[each.name])
        for each in context.command.params
        if each.name is not None and each.name not in taken and _is_given(context, each.name)
    ]
    if others:
        *first, last = map(_spelled, beside)
        raise OptionError(
            f"{option} goes with {', '.join(first)} and {last} alone: leave out {', '.join(others)}; {why}"
        )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _spelled(parameter: Any, value: object = None) -> str:
    """A parameter as it is typed; `value` tells which of --x and --no-x was."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    off = value is False and parameter.secondary_opts
    return str((parameter.secondary_opts if off else parameter.opts)[0])


def parse_shape(text: str | None, option: str, example: str) -> tuple[int, ...] | None:
    """Read extents of at least 1, joined by `x`.

    None, an option not given, stays None. Raises typer.BadParameter for anything else.
    """
    if text is None:
        return None
    extents = text.split("x")
    if not all(extent.isdecimal() and int(extent) > 0 for extent in extents):
        raise typer.BadParameter(f"{text!r}: give a shape such as {example}", param_hint=option)
    return tuple(int(extent) for extent in extents)


def parse_inputs(shapes: list[str] | None, dtypes: list[str] | None) -> dict[str, Any]:
    """The options `input_shape` or `inputs` of shapes and dtypes, each as typed: `[NAME=]VALUE`.

    Raises typer.BadParameter for what is no shape, and for dtypes that belong to no input.
    """
    given = [_named(text) for text in shapes or []]
    types = [_named(text) for text in dtypes or []]
    if not types and len(given) == 1 and given[0][0] is None and "," not in given[0][1]:
        return {"input_shape": parse_shape(given[0][1], "--input-shape", _EXAMPLE)}
    by_name = {name: dtype for name, dtype in types if name is not None}
    others = [dtype for name, dtype in types if name is None]
    if by_name.keys() - {name for name, _ in given} or len(others) not in (0, 1, len(given)):
        raise typer.BadParameter(
            "give one for all inputs, one for each --input-shape, or by their names", param_hint="--dtype"
        )
    others = others * len(given) if len(others) == 1 else others or ["float32"] * len(given)
    return {
        "inputs": tuple(
            ExampleInput(_extents(text), name, by_name.get(name or "", dtype), whole="," in text)
            for (name, text), dtype in zip(given, others, strict=True)
        )
    }


def parse_approximate(texts: list[str] | None) -> Approximate:
    """The option `approximate`, as typed: one error for all functions, or errors by their names.

    Raises typer.BadParameter for what is no number, and for an error for all beside others.
    """
    if not texts:
        return None
    errors: dict[str, float] = {}
    for name, error in map(_named, texts):
        try:
            errors[name or ""] = float(error)
        except ValueError:
            raise typer.BadParameter(
                f"{error!r} is no number: give an error such as 1e-3, or gelu=1e-3",
                param_hint="--approximate",
            ) from None
    if "" not in errors:
        return errors
    if len(texts) > 1:
        raise typer.BadParameter(
            "give one error for all functions, or each by name", param_hint="--approximate"
        )
    return errors[""]


def _extents(text: str) -> tuple[int, ...]:
    extents = parse_shape(text.strip(",").replace(",", "x"), "--input-shape", _EXAMPLE)
    assert extents is not None
    return extents


def _named(text: str) -> tuple[str | None, str]:
    name, equals, value = text.rpartition("=")
    return (name, value) if equals else (None, text)
