"""What the check of programs finds in those that were compiled and then damaged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sparsegen
from sparsegen.errors import ProgramError
from sparsegen.runtime.check import check_program, faults
from sparsegen.runtime.program import (
    KernelCall,
    NewTensor,
    PlacedArray,
    Program,
    Region,
    Slot,
    TorchCall,
    TorchConstant,
    Weight,
    regions_of,
)
from tests.runtime.networks import changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"library": b""}, "there is no library"),
        ({"library": "text"}, "its library is of type str, not bytes"),
        ({"threads": 0}, "it is for 0 threads, and 1 to 4,096 are allowed"),
        ({"threads": 1_000_000}, "it is for 1000000 threads"),
        ({"threads": 1 << 63}, "it is for 9223372036854775808 threads"),
        ({"slots": 1 << 62}, "there are 1 inputs and 4611686018427387904 slots for"),
        ({"live_bytes": -1}, "-1 bytes live in an arena of"),
        ({"live_bytes": 1 << 40}, "1,099,511,627,776 bytes live in an arena of"),
        ({"weights": np.zeros(64, np.float32)}, "its weights are no array of bytes"),
        ({"weights": np.zeros((64, 1), np.uint8)}, "its weights are no array of bytes"),
        ({"weights": bytes(64)}, "its weights are no array of bytes"),
        ({"weights": np.zeros(1 << 20, np.uint8)}, r"the arrays end at byte [\d,]+, and there are 1,048,576"),
        ({"signatures": {}}, "the call of layer 'input' names 'kernel_0', and the program does not tell"),
        ({"outputs": ()}, "the result has 1 leaves, and there are 0 outputs"),
    ],
)
def test_wholes_that_do_not_go_together(
    change: dict[str, Any], message: str, images: sparsegen.CompiledModel
) -> None:
    with pytest.raises(ProgramError, match=f"the program cannot be run: {message}"):
        check_program(replace(images.program, **change))


def test_tensors_have_what_functions_read(images: sparsegen.CompiledModel) -> None:
    program = images.program
    (form,) = program.interface.inputs
    for other in (replace(form, shape=(2, 3, 8, 1)), replace(form, dtype="int32")):
        smaller = replace(program, interface=replace(program.interface, inputs=(other,)))
        with pytest.raises(ProgramError, match=r"reads \(384, 'float32'\) elements of slot 0, which holds"):
            check_program(smaller)
    strange = replace(program, interface=replace(program.interface, inputs=(replace(form, dtype="odd"),)))
    with pytest.raises(ProgramError, match=r"input 0 is .* of type odd"):
        check_program(strange)
    enter = program.calls[0]
    assert isinstance(enter, KernelCall)
    untold = changed(program, 0, arguments=(Slot(0), *enter.arguments[1:]))
    with pytest.raises(ProgramError, match="reads a tensor without telling how much of it"):
        check_program(untold)
    last = program.calls[-1]
    assert isinstance(last, KernelCall)
    odd = changed(program, -1, arguments=(last.arguments[0], NewTensor(1, (2, 4, 8, 8), "odd")))
    with pytest.raises(ProgramError, match=r"makes a tensor .* of type odd"):
        check_program(odd)


def test_a_program_is_checked_in_all_its_parts(
    images: sparsegen.CompiledModel, mixed: sparsegen.CompiledModel
) -> None:
    one, other = images.program, mixed.program
    assert not list(faults(one))
    assert not list(faults(other))
    enter, first = one.calls[0], one.calls[1]
    assert isinstance(enter, KernelCall)
    assert isinstance(first, KernelCall)
    place, *weights, _ = first.arguments
    assert isinstance(place, Region)
    torchs = next(i for i, call in enumerate(other.calls) if isinstance(call, TorchCall))
    written = first.arguments[-1]
    assert isinstance(written, Region)
    damaged = {
        r"names slot 9 of \d+": changed(one, 0, arguments=(Slot(9), *enter.arguments[1:])),
        r"names array 99 of \d+": changed(one, 1, arguments=(place, Weight(99), written)),
        "its last argument has to be": changed(one, 1, arguments=(written, place, Weight(0))),
        "makes a tensor that is not its last": changed(one, 1, arguments=(NewTensor(1, (2,)), written)),
        r"names bytes [\d,]+ to [\d,]+ of an arena of": replace(
            one, arena_bytes=written.end - 1, live_bytes=0
        ),
        "elements of type float3": changed(one, 1, arguments=(place, replace(written, dtype="float3"))),
        "do not hold a value of shape": changed(
            one, 1, arguments=(replace(place, offset=64), *weights, written)
        ),
        "names halo 9 of": changed(one, 0, arguments=(Slot(0, (384,)), replace(place, halo=9))),
        "with a halo that does not suit them": replace(one, halos=(replace(one.halos[0], size=8),)),
        r"is given 'float': a kernel takes slots": changed(one, 1, arguments=("float", written)),
        "is given Region": changed(other, torchs, arguments=(place,)),
        "is given TorchConstant": changed(other, torchs, arguments=(TorchConstant("axis", "x"),)),  # type: ignore[arg-type]
        "clears a halo that it has not": changed(one, len(one.calls) - 1, clears=True),
        "reads slot 0, which holds nothing": replace(
            one, interface=replace(one.interface, inputs=(), call=None)
        ),
        "array 0 lies outside": replace(one, weights=one.weights[:4]),
        "array 0 has elements of type complex64": replace(one, arrays=(PlacedArray(0, (1,), "complex64"),)),
        "array 0 starts at byte 4; after": replace(one, arrays=(PlacedArray(4, (1,)), *one.arrays[1:])),
        "array 1 starts at byte 0; after": replace(one, arrays=(one.arrays[0], *one.arrays)),
        "an output is slot 77": replace(one, outputs=(77,)),
        "a known output is array 77": replace(
            other, interface=replace(other.interface, known={0: Weight(77)})
        ),
        "writes over input 0": changed(other, torchs, slot=0),
        "holds nothing at the end": replace(other, outputs=(1, *other.outputs[1:])),
        "12 inputs and": replace(one, interface=replace(one.interface, inputs=one.interface.inputs * 12)),
    }
    for message, program in damaged.items():
        with pytest.raises(ProgramError, match=rf"the program cannot be run: .*{message}"):
            check_program(program)


def test_halos_are_looked_at_over_two_calls_of_the_model(images: sparsegen.CompiledModel) -> None:
    clearing = [
        i for i, call in enumerate(images.program.calls) if isinstance(call, KernelCall) and call.clears
    ]
    assert clearing, "no buffer of the network shares its memory"
    for index in clearing:
        found = list(faults(changed(images.program, index, clears=False)))
        assert found
        assert all("whose halo is not zero then" in fault for fault in found)


@pytest.mark.parametrize("name", ["images", "mixed"])
def test_arguments_are_what_functions_take(name: str, request: pytest.FixtureRequest) -> None:
    """Another extent, type or order of what a function is given is a fault, whoever reads it."""
    program: Program = request.getfixturevalue(name).program
    found = 0
    for index, call in enumerate(program.calls):
        if not isinstance(call, KernelCall):
            continue
        last = call.arguments[-1]
        for place, argument in enumerate(call.arguments):
            others: list[Any] = []
            if isinstance(argument, Region | NewTensor | Slot):
                assert argument.shape is not None
                others += [
                    replace(argument, shape=(*argument.shape[:-1], 1)),
                    replace(argument, dtype="int8"),
                ]
                others += [replace(argument, shape=(0,))]
            if isinstance(argument, Slot):
                others += [replace(argument, aligned=not argument.aligned)]
            if isinstance(argument, Weight):
                others += [replace(last, shape=(1,))]
            for other in others:
                arguments = (*call.arguments[:place], other, *call.arguments[place + 1 :])
                assert list(faults(changed(program, index, arguments=arguments))), (call, other)
                found += 1
        with pytest.raises(ProgramError, match=r"has \d arguments, and 'kernel_\d+' takes \d"):
            check_program(changed(program, index, arguments=(last,)))
    assert found > len(program.calls)


def test_arrays_have_the_shapes_that_functions_take(images: sparsegen.CompiledModel) -> None:
    """Those whose length no function knows end where the next one begins, but for less than a line."""
    program = images.program
    kernels = [call for call in program.calls if isinstance(call, KernelCall)]
    free = {
        argument.index
        for call in kernels
        for argument, takes in zip(call.arguments, program.signatures[call.symbol], strict=True)
        if isinstance(argument, Weight) and None in takes.shape
    }
    assert 0 < len(free) < len(program.arrays)
    for index, placed in enumerate(program.arrays):
        less = 16 if index in free else 1
        smaller = replace(placed, shape=(*placed.shape[:-1], placed.shape[-1] - less))
        arrays = (*program.arrays[:index], smaller, *program.arrays[index + 1 :])
        assert list(faults(replace(program, arrays=arrays)))


def test_results_are_those_of_the_interface(
    images: sparsegen.CompiledModel, mixed: sparsegen.CompiledModel
) -> None:
    one, other = images.program, mixed.program
    for shapes, message in (
        ((), "there are 0 shapes of 1 outputs"),
        (((2, 4, 8, 9),), r"output 0 is slot 1, which holds \(2, 4, 8, 8\), and has to be \(2, 4, 8, 9\)"),
    ):
        face = replace(one.interface, output_shapes=shapes)
        with pytest.raises(ProgramError, match=message):
            check_program(replace(one, interface=face))
    with pytest.raises(ProgramError, match="an output is input 0, which is the caller's"):
        check_program(replace(one, outputs=(0,)))
    with pytest.raises(ProgramError, match="nothing reads the value of layer"):
        check_program(replace(other, outputs=(other.outputs[1], *other.outputs[1:])))
    untold = replace(other.interface, known={**other.interface.known, 3: Slot(1)})
    with pytest.raises(ProgramError, match="known outputs are "):
        check_program(replace(other, interface=untold))


def test_nothing_is_computed_in_vain(images: sparsegen.CompiledModel) -> None:
    program = images.program
    twice = (*program.calls[:1], *program.calls)
    with pytest.raises(ProgramError, match="'input' writes over the value of 'input', unread"):
        check_program(replace(program, calls=twice))


def test_buffers_whose_halo_nobody_reads_share_memory_with_those_that_are_padded() -> None:
    layers = [nn.Conv2d(8, 8, size, padding=size // 2, dtype=torch.float32) for size in (1, 1, 3, 1, 3)]
    x = torch.ones(8, 8, 9, 9, dtype=torch.float32, device="cpu")
    model = sparsegen.compile(
        nn.Sequential(*layers).eval(), (x,), threads=1, target="haswell", database=None, winograd=False
    )
    kernels = [call for call in model.program.calls if isinstance(call, KernelCall)]
    read = [a.halo for call in kernels for a in call.arguments[:-1] if isinstance(a, Region)]
    assert None in read
    assert set(read) != {None}
    assert not any(call.clears for call in kernels)
    check_program(model.program)
    for index, call in enumerate(kernels):
        output = call.arguments[-1]
        if isinstance(output, Region) and any(
            replace(output, halo=each.halo) == each and each.halo is not None
            for later in kernels[index + 1 : index + 2]
            for each in regions_of(later.arguments[:-1])
        ):
            without = (*call.arguments[:-1], replace(output, halo=None))
            with pytest.raises(ProgramError, match="whose halo is not zero then"):
                check_program(changed(model.program, index, arguments=without))
