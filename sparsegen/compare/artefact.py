"""A model in a file as a part of a comparison: checked to be this model, and run in turn with all others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sparsegen_runtime import NeedsTorchError
from sparsegen_runtime import load as load_alone
from torch import nn
from torch.utils import _pytree

from sparsegen.compare.accuracy import accuracy
from sparsegen.compare.peers import network_reference
from sparsegen.compare.report import ArtefactPart
from sparsegen.errors import InputError, OptionError
from sparsegen.runtime.artefact.read import read_programs
from sparsegen.runtime.model import bind
from sparsegen.wording import dimensions, threads_phrase

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Variant:
    target: str
    threads: int
    shapes: Shapes
    opened: Callable[[], Callable[..., Any]]

    def __str__(self) -> str:
        return f"{_phrase(self.shapes)} on {threads_phrase(self.threads)}"


@dataclass(frozen=True)
class RunningArtefact:
    """A file's model, called on the inputs of a comparison, and what the comparison tells of it."""

    call: Callable[[], Any]
    part: ArtefactPart


@dataclass(frozen=True)
class Artefact:
    """A file that is open: its variants that run on this machine, the best first."""

    path: Path
    variants: Sequence[_Variant]

    def of_model(self, model: nn.Module, inputs: tuple[Any, ...], threads: int) -> RunningArtefact:
        """The variant for these inputs and threads, checked: it computes what the model does.

        Raises OptionError, which names what was found, where there is none, and where its result is not
        that of the model, with its pruned weights, in float64.
        """
        variant = self._fitting(tuple(_shapes(inputs)), threads)
        run = variant.opened()
        try:
            result = run(*inputs)
        except InputError as error:
            raise OptionError(f"{self.path} is of a model with other inputs: {error}") from error
        reference = network_reference(model, inputs)
        if _shapes(result) != _shapes(reference):
            raise OptionError(
                f"{self.path} is of another model: its results have shapes {_phrase(_shapes(result))}, and "
                f"this one's {_phrase(_shapes(reference))}"
            )
        exact = accuracy(result, reference)
        if not exact.passes:
            raise OptionError(
                f"{self.path} is of another model, of other weights, or pruned otherwise: its result differs "
                f"from this one's in float64 by {exact.relative_error:.0e}; compile it of the same weights, "
                "with the same --sparsity and --structure (--sparsity 0 where the model is sparse already)"
            )
        return RunningArtefact(lambda: run(*inputs), ArtefactPart(str(self.path), variant.target, exact))

    def _fitting(self, shapes: Shapes, threads: int) -> _Variant:
        fitting = [each for each in self.variants if (each.shapes, each.threads) == (shapes, threads)]
        if not fitting:
            raise OptionError(
                f"{self.path} is not for inputs of {_phrase(shapes)} on {threads_phrase(threads)}: it is for "
                f"{'; '.join(map(str, self.variants))}; give --batch and --threads that it has, or compile "
                "it for these"
            )
        return fitting[0]


def open_artefact(path: Path, threads: int) -> Artefact:
    """A file, for calls on so many threads; raises what `sparsegen.load` raises."""
    try:
        model = load_alone(path, threads)
    except NeedsTorchError:
        programs = read_programs(path)
        return Artefact(
            path,
            [
                _Variant(
                    program.target,
                    program.threads,
                    tuple(form.shape for form in program.interface.inputs),
                    functools.partial(bind, program),
                )
                for program in programs
            ],
        )
    return Artefact(
        path,
        [_Variant(each.target, each.threads, each.input_shapes, lambda: model) for each in model.variants],
    )


def _shapes(value: Any) -> list[tuple[int, ...]]:
    """Those of all tensors in a structure."""
    return [tuple(each.shape) for each in _pytree.tree_leaves(value) if isinstance(each, torch.Tensor)]


def _phrase(shapes: Sequence[tuple[int, ...]]) -> str:
    """`1x3x224x224`, `1x128 and 1x128`."""
    return " and ".join(dimensions(shape) or "a number" for shape in shapes)
