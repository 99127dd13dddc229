"""Whether a program is sound: a check of its own, which knows nothing of how the program was made.

Everything that a call names is there and inside its memory; every value is read as it was written, after that
and before something else took its place; plain tensors have the elements that functions read; and halos are
zero when they are read, at every call of the model. Functions are trusted to stay inside their arguments, and
torch's results are looked at when they are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from sparsegen.errors import ProgramError
from sparsegen.graph import ITEM_BYTES
from sparsegen.runtime.program import (
    CallStage,
    Clearing,
    KernelCall,
    NewTensor,
    Program,
    Region,
    Slot,
    TorchCall,
    Weight,
    ended_before,
    slots_in,
    weights_in,
)

_LINE = 64  # bytes, of which buffers and arrays start at a multiple
_RUNS = 2  # of the model: what one leaves behind is found by the next


def check_program(program: Program) -> None:
    """Raises ProgramError, with the first fault that is found, for a program that cannot be run."""
    for fault in faults(program):
        raise ProgramError(f"the program cannot be run: {fault}")


def faults(program: Program) -> Iterator[str]:
    """What is wrong with a program, a sentence each; what lies where comes first."""
    found = [*_memory_faults(program), *(f for call in program.calls for f in _call_faults(program, call))]
    yield from found
    if not found:  # what follows takes the numbers for good
        yield from _stage_faults(program)
        yield from _slot_faults(program)
        yield from _region_faults(program)


def _memory_faults(program: Program) -> Iterator[str]:
    """Arrays outside the block of weights, and what the interface names that is not there."""
    for number, placed in enumerate(program.arrays):
        if placed.dtype not in ITEM_BYTES:
            yield f"array {number} has elements of type {placed.dtype}"
        elif min(placed.shape, default=0) < 0 or placed.offset < 0 or placed.end > len(program.weights):
            yield f"array {number} lies outside the {len(program.weights):,} bytes of weights"
        elif placed.offset % _LINE:
            yield f"array {number} starts at byte {placed.offset}, at no multiple of {_LINE}"
    for slot in program.outputs:
        if not 0 <= slot < program.slots:
            yield f"an output is slot {slot} of {program.slots}"
    for weight in weights_in(list(program.interface.known.values())):
        if not 0 <= weight.index < len(program.arrays):
            yield f"a known output is array {weight.index} of {len(program.arrays)}"
    yield from _interface_faults(program)


def _interface_faults(program: Program) -> Iterator[str]:
    """What does not go together of inputs, outputs, threads and library."""
    face, results = program.interface, len(program.outputs) + len(program.interface.known)
    if len(face.inputs) > program.slots:
        yield f"there are {len(face.inputs)} inputs and {program.slots} slots"
    for form in face.inputs:
        if form.dtype not in ITEM_BYTES or min(form.shape, default=0) < 0:
            yield f"{form.name} is {form.shape} of type {form.dtype}"
    if any(place not in range(results) for place in face.known):
        yield f"known outputs are at {', '.join(map(str, face.known))}, and there are {results} outputs"
    leaves = 1 if face.structure is None else face.structure.num_leaves
    if leaves != results:
        yield f"the result has {leaves} leaves, and there are {results} outputs"
    if program.threads < 1:
        yield f"it is for {program.threads} threads"
    if not program.library and any(isinstance(call, KernelCall) for call in program.calls):
        yield "there is no library"


def _call_faults(program: Program, call: KernelCall | TorchCall) -> Iterator[str]:
    """What a call names that is not there, or not in place."""
    where = f"the call of layer {call.layer!r}"
    named = [*slots_in(_read(call)), *map(Slot, call.frees), *map(Slot, _written_slots(call))]
    for slot in named:
        if not 0 <= slot.index < program.slots:
            yield f"{where} names slot {slot.index} of {program.slots}"
    for weight in weights_in(_read(call)):
        if not 0 <= weight.index < len(program.arrays):
            yield f"{where} names array {weight.index} of {len(program.arrays)}"
    if isinstance(call, TorchCall):
        return
    if not call.arguments or isinstance(call.arguments[-1], Slot | Weight):
        yield f"{where} writes nothing: its last argument has to be a region or a new tensor"
        return
    if any(isinstance(each, NewTensor) for each in call.arguments[:-1]):
        yield f"{where} makes a tensor that is not its last argument"
    if any(each.shape is None for each in slots_in(list(call.arguments))):
        yield f"{where} reads a tensor without telling how much of it"
    for made in call.arguments[-1:]:
        if isinstance(made, NewTensor) and (made.dtype not in ITEM_BYTES or min(made.shape, default=0) < 0):
            yield f"{where} makes a tensor {made.shape} of type {made.dtype}"
    for region in _regions(call.arguments):
        if min(region.shape, default=0) < 0 or region.dtype not in ITEM_BYTES:
            yield f"{where} names {math.prod(region.shape)} elements of type {region.dtype}"
        elif region.offset < 0 or region.end > program.arena_bytes or region.offset % _LINE:
            yield f"{where} names bytes {_bytes(region)} of an arena of {program.arena_bytes:,}"
    output = call.arguments[-1]
    if call.halo is not None:
        if not isinstance(output, Region) or not _suits(call.halo, output):
            yield f"{where} has a halo that does not suit what it writes"
    elif call.clears:
        yield f"{where} clears a halo that it has not"


def _stage_faults(program: Program) -> Iterator[str]:
    """Stages that overlap or are not there, too many threads, and groups that get in each other's way."""
    past = 0
    for number, stage in enumerate(program.stages):
        where = f"stage {number}"
        calls = sorted(call for group in stage.groups for call in group.calls)
        if min((group.threads for group in stage.groups), default=0) < 1 or not calls:
            yield f"{where} has a group without threads, or no call"
        elif not past <= stage.first < stage.end <= len(program.calls):
            yield f"{where} has calls {stage.first} to {stage.end} of {len(program.calls)}, {past} are past"
        elif calls != list(range(stage.first, stage.end)):
            yield f"{where} has not each of the calls {stage.first} to {stage.end} in one group"
        elif any(list(group.calls) != sorted(group.calls) for group in stage.groups):
            yield f"{where} has a group in another order than the program's"
        elif sum(group.threads for group in stage.groups) > program.threads:
            yield f"{where} takes more than {program.threads} threads"
        elif any(not stage.first <= other < call < stage.end for call, other in _waits(stage)):
            yield f"{where} has a call after one that is not before it in the stage"
        else:
            yield from _meeting_faults(program, stage, where)
        past = max(past, stage.end)


def _waits(stage: CallStage) -> list[tuple[int, int]]:
    """Each call of a stage that begins after another one, and that."""
    return [(call, other) for call, others in stage.after.items() for other in others]


def _meeting_faults(program: Program, stage: CallStage, where: str) -> Iterator[str]:
    """Calls of a stage that are no kernels on the arena alone, or that may write what another uses then."""
    before = ended_before(stage)
    used: list[tuple[int, Region, bool]] = []
    for number in range(stage.first, stage.end):
        call = program.calls[number]
        arguments = call.arguments if isinstance(call, KernelCall) else (None,)
        if not all(isinstance(each, Region | Weight) for each in arguments):
            yield f"{where} has the call of layer {call.layer!r}, which is not on the arena alone"
            continue
        regions = _regions(arguments)
        for other, theirs, written in used:
            if before[number] >> other & 1:
                continue
            for at, region in enumerate(regions):
                if (written or at == len(arguments) - 1) and region.meets(theirs):
                    yield f"calls {other} and {number} of {where} meet in bytes {_bytes(region)}"
        used += [(number, region, at == len(arguments) - 1) for at, region in enumerate(regions)]


def _suits(halo: Clearing, region: Region) -> bool:
    """Whether a halo lies in a region."""
    inside = all(0 <= begin <= end <= halo.plane for begin, end in halo.spans)
    positive = min(halo.head, halo.planes, halo.plane) >= 0 and halo.head <= halo.size
    reaches = halo.head + (halo.planes - 1) * halo.plane <= halo.size
    return region.shape == (halo.groups, halo.size) and inside and positive and reaches


def _slot_faults(program: Program) -> Iterator[str]:
    """Slots that are read before they are written or after they were freed, and inputs written over."""
    inputs = program.interface.inputs
    # What each slot holds: elements and their type, or None for what torch gave.
    held: dict[int, tuple[int, str] | None] = {
        index: (math.prod(form.shape), form.dtype) for index, form in enumerate(inputs)
    }
    for call in program.calls:
        where = f"the call of layer {call.layer!r}"
        for slot in slots_in(_read(call)):
            if slot.index not in held:
                yield f"{where} reads slot {slot.index}, which holds nothing then"
            elif slot.shape is not None:
                read, there = (math.prod(slot.shape), slot.dtype), held[slot.index]
                if there is not None and read != there:
                    yield f"{where} reads {read} elements of slot {slot.index}, which holds {there}"
        for index in _written_slots(call):
            if index < len(inputs):
                yield f"{where} writes over input {index}"
        held.update(_written(call))
        for index in call.frees:
            held.pop(index, None)
    for index in program.outputs:
        if index not in held:
            yield f"slot {index} is an output, and holds nothing at the end"


def _region_faults(program: Program) -> Iterator[str]:
    """Regions that do not hold what a call reads there, or whose halo is not zero."""
    kernels = [call for call in program.calls if isinstance(call, KernelCall)]
    written = {(call.arguments[-1], call.halo) for call in kernels if isinstance(call.arguments[-1], Region)}
    dirty: set[tuple[Region, Clearing]] = set()
    for _ in range(_RUNS):
        held: dict[Region, Clearing | None] = {}
        for call in kernels:
            *read, output = call.arguments
            for region in _regions(read):
                where = f"the call of layer {call.layer!r} reads bytes {_bytes(region)}"
                if region not in held:
                    yield f"{where}, which do not hold a value of shape {region.shape} then"
                elif (region, held[region]) in dirty:
                    yield f"{where}, whose halo is not zero then"
                if isinstance(output, Region) and output.meets(region):
                    yield f"{where} and writes there"
            if not isinstance(output, Region):
                continue
            held = {region: halo for region, halo in held.items() if not region.meets(output)}
            held[output] = call.halo
            for region, halo in written:
                if halo is not None and region.meets(output) and (region, halo) != (output, call.halo):
                    dirty.add((region, halo))
            if call.clears and call.halo is not None:
                dirty.discard((output, call.halo))


def _read(call: KernelCall | TorchCall) -> list[object]:
    """All that a call reads."""
    if isinstance(call, TorchCall):
        return [call.arguments, *(value for _, value in call.keywords)]
    return list(call.arguments[:-1])


def _written_slots(call: KernelCall | TorchCall) -> list[int]:
    if isinstance(call, TorchCall):
        return [call.slot]
    return [each.slot for each in call.arguments if isinstance(each, NewTensor)]


def _bytes(region: Region) -> str:
    return f"{region.offset:,} to {region.end:,}"


def _written(call: KernelCall | TorchCall) -> dict[int, tuple[int, str] | None]:
    """What a call puts into slots, as `_slot_faults` keeps it."""
    if isinstance(call, TorchCall):
        return {call.slot: None}
    made = [each for each in call.arguments if isinstance(each, NewTensor)]
    return {each.slot: (math.prod(each.shape), each.dtype) for each in made}


def _regions(arguments: Iterable[object]) -> list[Region]:
    return [each for each in arguments if isinstance(each, Region)]
