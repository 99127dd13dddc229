"""The check of programs finds what goes wrong where every byte of the arena is followed, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.lowering.memory import Lifetime, plan_memory
from sparsegen.runtime.check import faults
from sparsegen.runtime.program import (
    Clearing,
    Interface,
    KernelCall,
    NewTensor,
    Parameter,
    Program,
    Region,
)
from tests.sampling import examples

LINE = 16  # floats
SPOILT = -1.0


def program_of(calls: list[KernelCall], arena_bytes: int, halos: tuple[Clearing, ...]) -> Program:
    """A program of such calls, each of a function of its own, and nothing else."""
    return Program(
        target="haswell",
        threads=1,
        interface=Interface((), ((1,),)),
        calls=tuple(calls),
        slots=1,
        outputs=(0,),
        arena_bytes=arena_bytes,
        live_bytes=0,
        arrays=(),
        weights=np.zeros(0, np.uint8),
        library=b"some",
        signatures={
            call.symbol: tuple(
                Parameter(each.shape) for each in call.arguments if isinstance(each, Region | NewTensor)
            )
            for call in calls
        },
        halos=halos,
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A sound program: values that each read some of those before, their memory planned and halos cleared."""
    count = draw(st.integers(1, 7))
    reads = [draw(st.sets(st.integers(0, i - 1), max_size=2)) if i else set() for i in range(count)]
    sizes = [LINE * draw(st.integers(1, 4)) for _ in range(count)]
    last = {i: max([-1, *(j for j in range(count) if i in reads[j])]) for i in range(count)}
    kept = [i for i in range(count) if last[i] < 0]  # the result is made of what nothing else reads
    last |= dict.fromkeys(kept, count)
    memory = plan_memory({str(i): Lifetime(4 * sizes[i], i, last[i]) for i in range(count)})
    regions = [Region(memory.offsets[str(i)], (1, sizes[i])) for i in range(count)]
    halos = [Clearing(1, size, 2, 1, size - 2, ((size - 4, size - 2),)) for size in sizes]
    numbers = {size: number for number, size in enumerate(dict.fromkeys(sizes))}
    written = [
        replace(region, halo=numbers[size] if draw(st.booleans()) else None)
        for region, size in zip(regions, sizes, strict=True)
    ]
    padded = [region.halo is not None and draw(st.booleans()) for region in written]
    read = [written[i] if padded[i] else regions[i] for i in range(count)]
    calls = []
    for i in range(count):
        others = [other for other in written if other != written[i]]
        clears = padded[i] and any(regions[i].meets(other) for other in others)
        arguments = (*(read[j] for j in sorted(reads[i])), written[i])
        calls.append(KernelCall(str(i), f"kernel_{i}", arguments, clears))
    calls.append(KernelCall("result", "leave", (*(read[i] for i in kept), NewTensor(0, (1,)))))
    return program_of(calls, memory.peak_bytes, tuple(halos[sizes.index(size)] for size in numbers))


@st.composite
def damaged(draw: st.DrawFn) -> Program:
    """A program with something moved, left out, done twice or not cleared: it may still be sound."""
    program = draw(programs())
    calls = list(program.calls)
    at = draw(st.integers(0, len(calls) - 2))
    call = calls[at]
    assert isinstance(call, KernelCall)
    output = call.arguments[-1]
    assert isinstance(output, Region)
    match draw(st.sampled_from(["move", "drop", "swap", "repeat", "leave uncleared", "clear", "no halo"])):
        case "move":
            moved = replace(output, offset=64 * draw(st.integers(0, 20)))
            calls = [
                replace(each, arguments=tuple(moved if a == output else a for a in each.arguments))
                if isinstance(each, KernelCall)
                else each
                for each in calls
            ]
        case "drop":
            del calls[at]
        case "swap":
            other = draw(st.integers(0, len(calls) - 2))
            calls[at], calls[other] = calls[other], calls[at]
        case "repeat":
            calls.insert(draw(st.integers(0, len(calls) - 1)), call)
        case "leave uncleared":
            calls[at] = replace(call, clears=False)
        case "clear":
            calls[at] = replace(call, clears=output.halo is not None)
        case "no halo":
            arguments = (*call.arguments[:-1], replace(output, halo=None))
            calls[at] = replace(call, arguments=arguments, clears=False)
    kernels = [call for call in calls if isinstance(call, KernelCall)]
    return program_of(kernels, program.arena_bytes, program.halos)


def goes_wrong(program: Program) -> bool:
    """Whether some call reads another number than was written for it: every float of the arena is followed.

    Each value has a number of its own in all of its elements, and zeros in a halo that somebody reads.
    """
    arena = np.zeros(max(1, program.arena_bytes // 4))
    for _ in range(2):
        number_of: dict[Region, tuple[float, np.ndarray]] = {}
        for number, call in enumerate(program.calls, start=1):
            assert isinstance(call, KernelCall)
            *read, output = call.arguments
            for region in read:
                assert isinstance(region, Region)
                place = replace(region, halo=None)
                if region.end > program.arena_bytes or place not in number_of:
                    return True
                written, around = number_of[place]
                zero = in_halo(region, program)
                held = arena[region.offset // 4 : region.end // 4]
                if np.any(held[zero] != 0) or np.any(held[~(zero | around)] != written):
                    return True
                if isinstance(output, Region) and region.meets(output):
                    return True
            if isinstance(output, NewTensor):
                continue
            assert isinstance(output, Region)
            if output.end > program.arena_bytes:
                return True
            held = arena[output.offset // 4 : output.end // 4]
            zero = in_halo(output, program)
            if call.clears:
                held[zero] = 0
            held[~zero] = number
            number_of[replace(output, halo=None)] = float(number), zero
    return False


def in_halo(region: Region, program: Program) -> np.ndarray:
    """Which floats of a region lie in its halo."""
    inside = np.zeros((region.end - region.offset) // 4, bool)
    if region.halo is not None:
        halo = program.halos[region.halo]
        inside[: halo.head] = True
        for begin, end in halo.spans:
            inside[halo.head + begin : halo.head + end] = True
    return inside


@examples(200)
@given(programs())
def test_sound_programs_pass(program: Program) -> None:
    assert not goes_wrong(program)
    assert not list(faults(program))


@examples(400)
@given(damaged())
def test_the_check_finds_what_goes_wrong(program: Program) -> None:
    """It may be stricter: a value written over by one that nobody reads, or by its own second writing."""
    if goes_wrong(program):
        assert list(faults(program))
