"""Whether a program is sound: a check of its own, which knows nothing of how the program was made.

Everything that a call names is there, inside its memory, and of the form that its function takes; every value
is read as it was written, after that and before something else took its place, and none is written for
nothing; halos are zero when they are read, at every call of the model. Functions are trusted to stay inside
their arguments, and torch's results are looked at when they are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import get_args

import numpy as np

from sparsegen.errors import ProgramError
from sparsegen.graph import ITEM_BYTES
from sparsegen.options import MOST_THREADS
from sparsegen.runtime.check_order import order_faults
from sparsegen.runtime.program import (
    Clearing,
    KernelCall,
    NewTensor,
    Parameter,
    PlacedArray,
    Program,
    Region,
    Shape,
    Slot,
    TorchCall,
    TorchConstant,
    TorchKind,
    Weight,
    read_by,
    regions_of,
    slots_in,
    slots_written,
    span_of,
    weights_in,
)

_LINE = 64  # bytes, of which buffers and arrays start at a multiple
_SHOWN = 40  # characters of what is no argument


def check_program(program: Program) -> None:
    """Raises ProgramError, with the first fault that is found, for a program that cannot be run."""
    for fault in faults(program):
        raise ProgramError(f"the program cannot be run: {fault}")


def faults(program: Program) -> Iterator[str]:
    """What is wrong with a program, a sentence each; what lies where comes first."""
    found = [
        *_block_faults(program),
        *_memory_faults(program),
        *_interface_faults(program),
        *(fault for call in program.calls for fault in _call_faults(program, call)),
    ]
    yield from found
    if not found:  # what follows takes the numbers for good
        yield from order_faults(program)


def _block_faults(program: Program) -> Iterator[str]:
    """Bytes that are none, and arrays that do not lie one after the other in the block of weights."""
    block = program.weights
    if not isinstance(program.library, bytes):
        yield f"its library is of type {type(program.library).__name__}, not bytes"
    elif not program.library and any(isinstance(call, KernelCall) for call in program.calls):
        yield "there is no library"
    if not isinstance(block, np.ndarray) or block.dtype != np.uint8 or block.ndim != 1:
        yield "its weights are no array of bytes: give one of NumPy's, uint8 and of one dimension"
        return
    end = 0
    for number, placed in enumerate(program.arrays):
        if placed.dtype not in ITEM_BYTES:
            yield f"array {number} has elements of type {placed.dtype}"
            return
        if min(placed.shape, default=0) < 0 or placed.offset < 0 or placed.end > len(block):
            yield f"array {number} lies outside the {len(block):,} bytes of weights"
        elif placed.offset != end:
            yield f"array {number} starts at byte {placed.offset:,}; after those before it that is {end:,}"
        end = -(-placed.end // _LINE) * _LINE
    if end != len(block):
        yield f"the arrays end at byte {end:,}, and there are {len(block):,} bytes of weights"


def _memory_faults(program: Program) -> Iterator[str]:
    """Sizes that cannot be, and what the interface names that is not there."""
    if not 0 <= program.live_bytes <= program.arena_bytes:
        yield f"{program.live_bytes:,} bytes live in an arena of {program.arena_bytes:,}"
    if not 1 <= program.threads <= MOST_THREADS:
        yield f"it is for {program.threads} threads, and 1 to {MOST_THREADS:,} are allowed"
    inputs, calls = len(program.interface.inputs), len(program.calls)
    if not inputs <= program.slots <= inputs + calls:
        yield f"there are {inputs} inputs and {program.slots} slots for {calls} calls"
    for slot in program.outputs:
        if not 0 <= slot < program.slots:
            yield f"an output is slot {slot} of {program.slots}"
        elif slot < inputs:
            yield f"an output is input {slot}, which is the caller's"
    for weight in weights_in(list(program.interface.known.values())):
        if not 0 <= weight.index < len(program.arrays):
            yield f"a known output is array {weight.index} of {len(program.arrays)}"


def _interface_faults(program: Program) -> Iterator[str]:
    """What does not go together of inputs, outputs and results."""
    face, results = program.interface, len(program.outputs) + len(program.interface.known)
    for form in face.inputs:
        if form.dtype not in ITEM_BYTES or min(form.shape, default=0) < 0:
            yield f"{form.name} is {form.shape} of type {form.dtype}"
    if any(place not in range(results) for place in face.known):
        yield f"known outputs are at {', '.join(map(str, face.known))}, and there are {results} outputs"
    if not all(isinstance(value, _VALUE | Weight) for value in face.known.values()):
        yield f"known outputs are {_shown(list(face.known.values()))}"
    leaves = 1 if face.structure is None else face.structure.num_leaves
    if leaves != results:
        yield f"the result has {leaves} leaves, and there are {results} outputs"
    if len(face.output_shapes) != len(program.outputs):
        yield f"there are {len(face.output_shapes)} shapes of {len(program.outputs)} outputs"
    call = face.call
    if call is not None:
        given = len(call.leaves) - len(call.fixed)
        if given != len(face.inputs) or any(place not in range(len(call.leaves)) for place in call.fixed):
            yield f"arguments have {given} tensors, and there are {len(face.inputs)} inputs"
        if call.spec.num_leaves != len(call.leaves) or call.positional > len(call.names):
            yield f"arguments have {call.spec.num_leaves} leaves, of which {len(call.leaves)} have names"


def _call_faults(program: Program, call: KernelCall | TorchCall) -> Iterator[str]:
    """What a call names that is not there, or not in place."""
    where, sound = f"the call of layer {call.layer!r}", True
    for fault in (*_name_faults(program, call), *_kind_faults(program, call)):
        sound = False
        yield f"{where} {fault}"
    if sound and isinstance(call, KernelCall):
        for fault in _signature_faults(program, call):
            yield f"{where} {fault}"


def _name_faults(program: Program, call: KernelCall | TorchCall) -> Iterator[str]:
    """Slots and arrays that are not there."""
    for slot in [*slots_in(read_by(call)), *map(Slot, call.frees), *map(Slot, slots_written(call))]:
        if not 0 <= slot.index < program.slots:
            yield f"names slot {slot.index} of {program.slots}"
    for weight in weights_in(read_by(call)):
        if not 0 <= weight.index < len(program.arrays):
            yield f"names array {weight.index} of {len(program.arrays)}"


def _kind_faults(program: Program, call: KernelCall | TorchCall) -> Iterator[str]:
    """Arguments that are none, and those of kernels that are not in place."""
    if isinstance(call, TorchCall):
        yield from (f"is given {_shown(each)}" for each in read_by(call) if not _is_torchs(each))
        return
    if not call.arguments or isinstance(call.arguments[-1], Slot | Weight):
        yield "writes nothing: its last argument has to be a region or a new tensor"
        return
    for each in call.arguments:
        if not isinstance(each, Slot | Region | Weight | NewTensor):
            yield f"is given {_shown(each)}: a kernel takes slots, regions, weights and a new tensor"
    if any(isinstance(each, NewTensor) for each in call.arguments[:-1]):
        yield "makes a tensor that is not its last argument"
    if any(each.shape is None for each in slots_in(list(call.arguments))):
        yield "reads a tensor without telling how much of it"
    for made in call.arguments[-1:]:
        if isinstance(made, NewTensor) and (made.dtype not in ITEM_BYTES or min(made.shape, default=0) < 0):
            yield f"makes a tensor {made.shape} of type {made.dtype}"
    yield from _memory_of_call_faults(program, call)


def _memory_of_call_faults(program: Program, call: KernelCall) -> Iterator[str]:
    """Regions outside the arena, and halos outside their regions."""
    for region in regions_of(call.arguments):
        if min(region.shape, default=0) < 0 or region.dtype not in ITEM_BYTES:
            yield f"names {math.prod(region.shape)} elements of type {region.dtype}"
        elif region.offset < 0 or region.end > program.arena_bytes or region.offset % _LINE:
            yield f"names bytes {span_of(region)} of an arena of {program.arena_bytes:,}"
        elif region.halo is not None and not 0 <= region.halo < len(program.halos):
            yield f"names halo {region.halo} of {len(program.halos)}"
        elif region.halo is not None and not _suits(program.halos[region.halo], region):
            yield f"names bytes {span_of(region)} with a halo that does not suit them"
    output = call.arguments[-1]
    if call.clears and not (isinstance(output, Region) and output.halo is not None):
        yield "clears a halo that it has not"


def _signature_faults(program: Program, call: KernelCall) -> Iterator[str]:
    """Arguments of another form than the function takes."""
    takes = program.signatures.get(call.symbol)
    if takes is None:
        yield f"names {call.symbol!r}, and the program does not tell what that takes"
        return
    if len(takes) != len(call.arguments):
        yield f"has {len(call.arguments)} arguments, and {call.symbol!r} takes {len(takes)}"
        return
    for place, (parameter, argument) in enumerate(zip(takes, call.arguments, strict=True)):
        shapes, dtype = _forms(argument, program.arrays)
        if not any(_takes(parameter, shape, dtype) for shape in shapes):
            yield (
                f"gives {call.symbol!r} {shapes[0]} of type {dtype} as argument {place}, which takes "
                f"{parameter.shape} of type {parameter.dtype}"
            )


def _forms(argument: object, arrays: tuple[PlacedArray, ...]) -> tuple[tuple[Shape, ...], str]:
    """The shapes that a function may get an argument in, and its type; plain tensors are flat."""
    if isinstance(argument, Weight):
        return (arrays[argument.index].shape,), arrays[argument.index].dtype
    assert isinstance(argument, Slot | Region | NewTensor)
    shape = argument.shape or ()
    flat = (math.prod(shape),)
    if isinstance(argument, NewTensor):  # a buffer's copy is as the buffer
        return (flat, shape), argument.dtype
    return (flat if isinstance(argument, Slot) and not argument.aligned else shape,), argument.dtype


def _takes(parameter: Parameter, shape: Shape, dtype: str) -> bool:
    return (
        dtype == parameter.dtype
        and len(shape) == len(parameter.shape)
        and all(own in (None, extent) for own, extent in zip(parameter.shape, shape, strict=True))
    )


_VALUE = int | float | complex | str | None


def _is_torchs(argument: object) -> bool:
    """Whether torch's operators may have it as an argument."""
    if isinstance(argument, tuple | list):
        return all(map(_is_torchs, argument))
    if isinstance(argument, TorchConstant):
        return argument.kind in get_args(TorchKind)
    return isinstance(argument, _VALUE | Slot | Weight)


def _suits(halo: Clearing, region: Region) -> bool:
    """Whether a halo lies in a region."""
    inside = all(0 <= begin <= end <= halo.plane for begin, end in halo.spans)
    positive = min(halo.head, halo.planes, halo.plane) >= 0 and halo.head <= halo.size
    reaches = halo.head + (halo.planes - 1) * halo.plane <= halo.size
    return region.shape == (halo.groups, halo.size) and inside and positive and reaches


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
