"""What the compiler made of a model, in files to look at: SPARSEGEN_DUMP=graph,tir,llvm,asm.

The variable names what is written: `graph`, the layers, and each one's kernel; `tir`, each kernel's loops as
they are before vectorising; `llvm`, its LLVM code; `asm`, its assembly. Every compilation writes a folder of
its own, `compilation-1` and so on, in `sparsegen-dump` or in the folder that SPARSEGEN_DUMP_FOLDER names.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sparsegen.errors import FileError, OptionError
from sparsegen.files import write_file
from sparsegen.graph import Core, Layer, LayerGraph, Step

KINDS = {"graph": "txt", "tir": "py", "llvm": "ll", "asm": "s"}
"""What may be written, and the suffix of its files."""

WANTED, FOLDER = "SPARSEGEN_DUMP", "SPARSEGEN_DUMP_FOLDER"
"""The environment variables: what to write, and where."""

_DEFAULT_FOLDER = "sparsegen-dump"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dump:
    """Where one compilation writes what; nowhere if it is asked for nothing."""

    folder: Path
    kinds: frozenset[str] = frozenset()

    def write(self, kind: str, name: str, text: Callable[[], str]) -> None:
        """Write the file `name` of a kind, if that is wanted; `text` is not called otherwise.

        Raises FileError for a folder that cannot be written.
        """
        if kind not in self.kinds:
            return
        write_file(self.folder / f"{name}.{KINDS[kind]}", text())


NO_DUMP = Dump(Path(_DEFAULT_FOLDER))
"""Writes nothing."""


def next_dump() -> Dump:
    """The dump of a compilation that begins, as the environment asks for it.

    Raises OptionError for a kind that is not in `KINDS`, and FileError for a folder that cannot be written.
    """
    wanted = frozenset(filter(None, (word.strip() for word in os.environ.get(WANTED, "").split(","))))
    folder = Path(os.environ.get(FOLDER) or _DEFAULT_FOLDER)
    unknown = wanted - KINDS.keys()
    if unknown:
        raise OptionError(f"{WANTED} asks for {', '.join(sorted(unknown))}: it takes {', '.join(KINDS)}")
    if not wanted:
        return NO_DUMP
    dump = Dump(_new_folder(folder), wanted)
    _log.info("writing %s to %s", ", ".join(sorted(wanted)), dump.folder)
    return dump


def _new_folder(parent: Path) -> Path:
    """A folder of the next free number; other processes may be making theirs."""
    for number in itertools.count(1):
        folder = parent / f"compilation-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if parent.is_dir():
                continue
            raise FileError(f"{FOLDER} {parent} is a file: give the path of a folder") from None
        except OSError as error:
            raise FileError(
                f"{FOLDER} {parent} cannot be written ({error.strerror}): choose another"
            ) from error
        return folder
    raise AssertionError("unreachable: the numbers do not end")


def graph_text(graph: LayerGraph) -> str:
    """A graph, one line a layer: name, shape, core, inputs, epilogue."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: LayerGraph) -> Iterator[str]:
    for name, shape in graph.inputs.items():
        yield f"input    {name}: {_shape(shape)}"
    for name, array in graph.constants.items():
        yield f"constant {name}: {_shape(array.shape)}"
    for layer in graph.layers:
        yield _line(layer)
    yield f"output   {', '.join(graph.outputs)}"


def _line(layer: Layer) -> str:
    steps = "".join(f" |> {_step(step)}" for step in layer.epilogue)
    result = f"{layer.name}: {_shape(layer.shape)}"
    return f"layer    {result} = {_core(layer.core)}({', '.join(layer.inputs)}){steps}"


def _core(core: Core) -> str:
    """The operator and its parameters; of arrays their shape and the share that is not zero."""
    found = (f"{each.name}={_value(getattr(core, each.name))}" for each in fields(core))  # type: ignore[arg-type]
    return f"{type(core).__name__}[{', '.join(found)}]"


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        share = np.count_nonzero(value) / max(1, value.size)
        return f"{_shape(value.shape)} {share:.1%}"
    if isinstance(value, tuple) and value and isinstance(value[0], Step):
        return " |> ".join(map(_step, value))
    return _core(value) if hasattr(value, "__dataclass_fields__") else str(value)


def _step(step: Step) -> str:
    told = step.approximated
    if told is not None and told.knots:
        return f"{step.op}({told.function}, knots={told.knots}, error={told.error:.2g})"
    given = [*([] if step.operand is None else [step.operand]), *step.parameters]
    reverse = ["reversed"] if step.reverse else []
    return f"{step.op}({', '.join(map(str, [*given, *reverse]))})" if given else step.op


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
