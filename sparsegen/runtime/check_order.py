"""What is wrong with the order of a program's calls: with what lies where at which time.

The calls name nothing that is not there: `runtime.check` has seen to that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from sparsegen.runtime.program import (
    CallStage,
    KernelCall,
    NewTensor,
    Program,
    Region,
    Shape,
    TorchCall,
    Weight,
    ended_before,
    read_by,
    regions_of,
    slots_in,
    slots_written,
    span_of,
)

_RUNS = 2  # of the model: what one leaves behind is found by the next


def order_faults(program: Program) -> Iterator[str]:
    """What is wrong, a sentence each."""
    yield from _stage_faults(program)
    yield from _slot_faults(program)
    yield from _region_faults(program)
    yield from _unread_faults(program)


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
        regions = regions_of(arguments)
        for other, theirs, written in used:
            if before[number] >> other & 1:
                continue
            for at, region in enumerate(regions):
                if (written or at == len(arguments) - 1) and region.meets(theirs):
                    yield f"calls {other} and {number} of {where} meet in bytes {span_of(region)}"
        used += [(number, region, at == len(arguments) - 1) for at, region in enumerate(regions)]


def _slot_faults(program: Program) -> Iterator[str]:
    """Slots that are read before they are written or after they were freed, and inputs written over.

    And results of another shape than the interface tells.
    """
    inputs = program.interface.inputs
    # What each slot holds: its shape and type, or None for what torch gave.
    held: dict[int, tuple[Shape, str] | None] = {
        index: (form.shape, form.dtype) for index, form in enumerate(inputs)
    }
    for call in program.calls:
        where = f"the call of layer {call.layer!r}"
        for slot in slots_in(read_by(call)):
            if slot.index not in held:
                yield f"{where} reads slot {slot.index}, which holds nothing then"
            elif slot.shape is not None:
                there = held[slot.index]
                read = math.prod(slot.shape), slot.dtype
                if there is not None and read != (elements := (math.prod(there[0]), there[1])):
                    yield f"{where} reads {read} elements of slot {slot.index}, which holds {elements}"
        for index in slots_written(call):
            if index < len(inputs):
                yield f"{where} writes over input {index}"
        held.update(_written(call))
        for index in call.frees:
            held.pop(index, None)
    for number, (index, shape) in enumerate(
        zip(program.outputs, program.interface.output_shapes, strict=True)
    ):
        if index not in held:
            yield f"slot {index} is an output, and holds nothing at the end"
        elif (made := held[index]) is not None and made[0] != shape:
            yield f"output {number} is slot {index}, which holds {made[0]}, and has to be {shape}"


def _region_faults(program: Program) -> Iterator[str]:
    """Regions that do not hold what a call reads there, or whose halo is not zero."""
    kernels = [call for call in program.calls if isinstance(call, KernelCall)]
    outputs = regions_of(call.arguments[-1] for call in kernels)
    with_halo = {region for region in outputs if region.halo is not None}
    dirty: set[Region] = set()
    for _ in range(_RUNS):
        held: dict[Region, int | None] = {}  # by what is held: which halo was left as it is around it
        for call in kernels:
            *read, output = call.arguments
            for region in regions_of(read):
                where = f"the call of layer {call.layer!r} reads bytes {span_of(region)}"
                if (place := _place(region)) not in held:
                    yield f"{where}, which do not hold a value of shape {region.shape} then"
                elif region.halo is not None and (region.halo != held[place] or region in dirty):
                    yield f"{where}, whose halo is not zero then"
                if isinstance(output, Region) and output.meets(region):
                    yield f"{where} and writes there"
            if not isinstance(output, Region):
                continue
            held = {region: halo for region, halo in held.items() if not region.meets(output)}
            held[_place(output)] = output.halo
            dirty |= {region for region in with_halo if region != output and region.meets(output)}
            if call.clears:
                dirty.discard(output)


def _unread_faults(program: Program) -> Iterator[str]:
    """Values that something is written over, or that are left at the end, before anybody has read them."""
    waiting: dict[int | Region, str] = {}  # slots and regions, by what they are: the layers
    for call in program.calls:
        for slot in slots_in(read_by(call)):
            waiting.pop(slot.index, None)
        for region in regions_of(read_by(call)):
            waiting.pop(_place(region), None)
        for place in _places_written(call):
            for lost in [other for other in waiting if _meets(place, other)]:
                unread = waiting.pop(lost)
                yield f"the call of layer {call.layer!r} writes over the value of {unread!r}, unread"
            waiting[place] = call.layer
    for place, layer in waiting.items():
        if place not in program.outputs:
            yield f"nothing reads the value of layer {layer!r}"


def _places_written(call: KernelCall | TorchCall) -> list[int | Region]:
    regions = regions_of(call.arguments[-1:]) if isinstance(call, KernelCall) else []
    return [*slots_written(call), *map(_place, regions)]


def _meets(place: int | Region, other: int | Region) -> bool:
    if isinstance(place, Region) and isinstance(other, Region):
        return place.meets(other)
    return place == other


def _place(region: Region) -> Region:
    """The region, whatever its halo."""
    return replace(region, halo=None)


def _written(call: KernelCall | TorchCall) -> dict[int, tuple[Shape, str] | None]:
    """What a call puts into slots, as `_slot_faults` keeps it."""
    if isinstance(call, TorchCall):
        return {call.slot: None}
    return {each.slot: (each.shape, each.dtype) for each in call.arguments if isinstance(each, NewTensor)}
