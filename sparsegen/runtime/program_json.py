"""A program written down as JSON, beside its weights and its library, which are bytes.

An argument is a number, text, true, false, null or a list as it stands, and otherwise an object whose
first key tells what it is: `{"slot": 3}`, `{"weight": 0}`, `{"dtype": "int64"}`,
`{"region": 4096, "shape": [1, 64], "dtype": "float32"}`, `{"new": 5, "shape": [10], "dtype": "float32"}`.
What JSON has no number for is `{"float": "inf"}`. Structures of arguments and results are as torch's pytrees
write themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from torch.utils import _pytree

from sparsegen.errors import ProgramError
from sparsegen.graph import ApproximatedStep, CallForm
from sparsegen.runtime.program import (
    Argument,
    CallGroup,
    CallStage,
    Clearing,
    Interface,
    KernelCall,
    LayerReport,
    NewTensor,
    Parameter,
    PlacedArray,
    PlainForm,
    Program,
    Region,
    Slot,
    TorchCall,
    TorchConstant,
    TorchKind,
    Weight,
)

SCHEMA = 2
_TORCH_KINDS = get_args(TorchKind)


def to_json(program: Program) -> dict[str, Any]:
    """All of a program but its weights and its library.

    Raises ProgramError where the model takes or returns a class that cannot be written down.
    """
    face = program.interface
    return {
        "schema": SCHEMA,
        "target": program.target,
        "without": program.without,
        "threads": program.threads,
        "inputs": [asdict(form) for form in face.inputs],
        "output_shapes": face.output_shapes,
        "call": None if face.call is None else _call_form(face.call),
        "structure": _structure(face.structure),
        "known": {str(place): _argument(value) for place, value in face.known.items()},
        "slots": program.slots,
        "outputs": program.outputs,
        "arena_bytes": program.arena_bytes,
        "live_bytes": program.live_bytes,
        "arrays": [asdict(placed) for placed in program.arrays],
        "halos": [asdict(halo) for halo in program.halos],
        "signatures": {
            symbol: [asdict(each) for each in takes] for symbol, takes in program.signatures.items()
        },
        "calls": [
            _kernel_call(call) if isinstance(call, KernelCall) else _torch_call(call)
            for call in program.calls
        ],
        **({"stages": [_stage(stage) for stage in program.stages]} if program.stages else {}),
        "layers": list(map(_report, program.layers)),
    }


def from_json(written: Mapping[str, Any], weights: NDArray[np.uint8], library: bytes) -> Program:
    """The program that `to_json` wrote; `runtime.check` tells whether it is sound.

    Raises ProgramError for what is no such program.
    """
    schema = written.get("schema") if isinstance(written, Mapping) else None
    if schema != SCHEMA or type(schema) is not int:
        raise ProgramError(f"the program has schema {schema!r}; this version reads {SCHEMA}")
    try:
        return _program(written, weights, library)
    except (
        ArithmeticError,
        AttributeError,
        ImportError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ProgramError(f"the program is damaged: {what}; compile the model again") from error


def _program(written: Mapping[str, Any], weights: NDArray[np.uint8], library: bytes) -> Program:
    call = written["call"]
    interface = Interface(
        inputs=tuple(
            PlainForm(str(e["name"]), _shape(e["shape"]), str(e["dtype"])) for e in written["inputs"]
        ),
        output_shapes=tuple(map(_shape, written["output_shapes"])),
        call=None if call is None else _read_call_form(call),
        structure=_read_structure(written["structure"]),
        known={int(place): _read_argument(value) for place, value in written["known"].items()},
    )
    return Program(
        target=str(written["target"]),
        threads=_count(written["threads"]),
        interface=interface,
        calls=tuple(_read_call(each) for each in written["calls"]),
        slots=_count(written["slots"]),
        outputs=_shape(written["outputs"]),
        arena_bytes=_count(written["arena_bytes"]),
        live_bytes=_count(written["live_bytes"]),
        arrays=tuple(
            PlacedArray(_count(each["offset"]), _shape(each["shape"]), str(each["dtype"]))
            for each in written["arrays"]
        ),
        weights=weights,
        library=library,
        signatures={
            str(symbol): tuple(map(_read_parameter, takes)) for symbol, takes in written["signatures"].items()
        },
        halos=tuple(map(_read_halo, written["halos"])),
        without=tuple(map(str, written["without"])),
        layers=tuple(map(_read_report, written["layers"])),
        stages=tuple(map(_read_stage, written.get("stages", ()))),
    )


def _kernel_call(call: KernelCall) -> dict[str, Any]:
    return {
        "layer": call.layer,
        "symbol": call.symbol,
        "arguments": [_argument(each) for each in call.arguments],
        **({"clears": True} if call.clears else {}),
        "frees": call.frees,
    }


def _torch_call(call: TorchCall) -> dict[str, Any]:
    return {
        "layer": call.layer,
        "operator": call.operator,
        "arguments": [_argument(each) for each in call.arguments],
        "keywords": {name: _argument(value) for name, value in call.keywords},
        "slot": call.slot,
        "frees": call.frees,
    }


def _read_call(written: Mapping[str, Any]) -> KernelCall | TorchCall:
    layer, frees = str(written["layer"]), _shape(written["frees"])
    arguments = tuple(map(_read_argument, written["arguments"]))
    if "operator" in written:
        keywords = tuple((name, _read_argument(value)) for name, value in written["keywords"].items())
        return TorchCall(layer, str(written["operator"]), arguments, keywords, _count(written["slot"]), frees)
    return KernelCall(layer, str(written["symbol"]), arguments, _flag(written, "clears"), frees)


def _read_halo(written: Mapping[str, Any]) -> Clearing:
    sizes = {name: _count(written[name]) for name in ("groups", "size", "head", "planes", "plane")}
    return Clearing(spans=tuple((_count(begin), _count(end)) for begin, end in written["spans"]), **sizes)


def _read_parameter(written: Mapping[str, Any]) -> Parameter:
    shape = tuple(None if extent is None else _count(extent) for extent in written["shape"])
    return Parameter(shape, str(written["dtype"]))


def _stage(stage: CallStage) -> dict[str, Any]:
    return {**asdict(stage), "after": {str(call): others for call, others in stage.after.items()}}


def _read_stage(written: Mapping[str, Any]) -> CallStage:
    return CallStage(
        first=_count(written["first"]),
        end=_count(written["end"]),
        groups=tuple(CallGroup(_shape(each["calls"]), _count(each["threads"])) for each in written["groups"]),
        after={int(call): _shape(others) for call, others in written["after"].items()},
    )


def _argument(value: Argument) -> Any:
    match value:
        case Slot(index, None):
            return {"slot": index}
        case Slot(index, shape, dtype, aligned):
            return {"slot": index, "shape": shape, "dtype": dtype, **({"aligned": True} if aligned else {})}
        case Weight(index):
            return {"weight": index}
        case Region(offset, shape, dtype, halo):
            region = {"region": offset, "shape": shape, "dtype": dtype}
            return region if halo is None else {**region, "halo": halo}
        case NewTensor(slot, shape, dtype):
            return {"new": slot, "shape": shape, "dtype": dtype}
        case TorchConstant(kind, name):
            return {kind: name}
        case tuple():
            return [_argument(each) for each in value]
        case float() if not math.isfinite(value):
            return {"float": str(value)}
        case None | bool() | int() | float() | str():
            return value
    raise ProgramError(f"{value!r}, of type {type(value).__name__}, cannot be written down as an argument")


def _read_slot(written: Mapping[str, Any]) -> Slot:
    index = _count(written["slot"])
    if "shape" not in written:
        return Slot(index)
    return Slot(index, _shape(written["shape"]), str(written["dtype"]), _flag(written, "aligned"))


def _read_region(written: Mapping[str, Any]) -> Region:
    halo = _count(written["halo"]) if "halo" in written else None
    return Region(_count(written["region"]), _shape(written["shape"]), str(written["dtype"]), halo)


_READERS: dict[str, Callable[[Mapping[str, Any]], Argument]] = {
    "slot": _read_slot,
    "weight": lambda written: Weight(_count(written["weight"])),
    "region": _read_region,
    "new": lambda written: NewTensor(_count(written["new"]), _shape(written["shape"]), str(written["dtype"])),
    "float": lambda written: float(written["float"]),
    **{kind: lambda written, kind=kind: TorchConstant(kind, str(written[kind])) for kind in _TORCH_KINDS},  # type: ignore[misc]
}


def _read_argument(written: Any) -> Argument:
    if isinstance(written, list | tuple):
        return tuple(map(_read_argument, written))
    if isinstance(written, Mapping):
        return _READERS[next(iter(written), "")](written)
    if not isinstance(written, None | bool | int | float | str):
        raise TypeError(f"argument {written!r}")
    return written


def _call_form(form: CallForm) -> dict[str, Any]:
    return {
        "spec": _structure(form.spec),
        "names": form.names,
        "positional": form.positional,
        "leaves": form.leaves,
        "fixed": {str(place): _argument(value) for place, value in form.fixed.items()},
    }


def _read_call_form(written: Mapping[str, Any]) -> CallForm:
    return CallForm(
        spec=_read_structure(written["spec"]),
        names=tuple(map(str, written["names"])),
        positional=_count(written["positional"]),
        leaves=tuple(map(str, written["leaves"])),
        fixed={int(place): _read_argument(value) for place, value in written["fixed"].items()},
    )


def _structure(spec: Any) -> Any:
    """A pytree spec as torch writes it; None stands for a single tensor."""
    if spec is None:
        return None
    try:
        return json.loads(_pytree.treespec_dumps(spec))
    except NotImplementedError as error:
        raise ProgramError(
            f"what the model takes or returns cannot be written down: {error}; register the class with "
            "torch.export.register_dataclass or with a serialized_type_name, or return a tuple or dict"
        ) from error


def _read_structure(written: Any) -> Any:
    if written is None:
        return None
    text = json.dumps(written)
    if "__enum__" in text:  # torch would import the module that it names
        raise ValueError("an enumeration in a structure")
    return _pytree.treespec_loads(text)


def _report(report: LayerReport) -> dict[str, Any]:
    """What is approximated is left out where nothing is."""
    return {key: value for key, value in asdict(report).items() if key != "approximated" or value}


def _read_report(written: Mapping[str, Any]) -> LayerReport:
    weight = written["weight_shape"]
    shapes = {
        "input_shapes": tuple(map(_shape, written["input_shapes"])),
        "output_shape": _shape(written["output_shape"]),
        "weight_shape": None if weight is None else _shape(weight),
    }
    approximated = tuple(ApproximatedStep(**each) for each in written.get("approximated", ()))
    return LayerReport(**{**written, **shapes, "approximated": approximated})


def _shape(written: Any) -> tuple[int, ...]:
    return tuple(map(_count, written))


def _flag(written: Mapping[str, Any], name: str) -> bool:
    """True or false, which is left out."""
    value = written.get(name, False)
    if type(value) is not bool:
        raise ValueError(f"{value!r}, where {name} is true or false")
    return value


def _count(written: Any) -> int:
    """A whole number that is not negative, as all of a program's are."""
    if type(written) is not int or written < 0:
        raise ValueError(f"{written!r}, where a count is expected")
    return written
