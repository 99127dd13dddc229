"""Programs as data: written down, read again, and looked at by a check that knows nothing of the compiler."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sparsegen
from sparsegen import compiler, target
from sparsegen.errors import ProgramError, TargetError
from sparsegen.runtime.check import check_program, faults
from sparsegen.runtime.model import bind
from sparsegen.runtime.operators import bytes_of
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
from sparsegen.runtime.program_json import from_json, to_json
from sparsegen.target import disguised, read_host
from tests.lowering.golden_cases import fixed_target
from tests.runtime.networks import compiled_network, example

GOLDEN = Path(__file__).parent / "golden"


class Mixed(nn.Module):
    """Kernels and torch's operators in turn, constants of both, and a result in a structure."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4, dtype=torch.float32, device="cpu")
        with torch.no_grad():
            self.linear.weight.copy_(torch.arange(24.0).view(4, 6) / 10)
            self.linear.bias.copy_(torch.arange(4.0))
        self.register_buffer("order", torch.tensor([2, 0, 1, 3], device="cpu"))

    def forward(self, x: Tensor, *, scale: float = 2.0) -> dict[str, Any]:
        values, places = self.linear(x).topk(2, dim=-1)
        kept = torch.cat([x, x]).cumsum(0, dtype=torch.float64)[:, :1]
        return {
            "values": values * scale,
            "places": places.clamp(max=float("inf")),
            "known": (self.order, None, 3),
            "kept": kept,
        }


@pytest.fixture(scope="module", autouse=True)
def any_machine() -> Iterator[None]:
    """Compile for a CPU whose caches are not this machine's: golden files are the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "parse_target", fixed_target)
        yield


@pytest.fixture(scope="module")
def mixed() -> sparsegen.CompiledModel:
    x = torch.ones(3, 6, dtype=torch.float32, device="cpu")
    with pytest.warns(UserWarning, match="torch itself"):
        return sparsegen.compile(
            Mixed().eval(), (x,), {"scale": 3.0}, threads=1, target="haswell", database=None
        )


@pytest.fixture(scope="module")
def images() -> sparsegen.CompiledModel:
    return compiled_network()


def text(program: Program) -> str:
    """A program's JSON with a line for every call, array and report."""
    lines = []
    for key, value in to_json(program).items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inside = ",\n    ".join(json.dumps(each) for each in value)
            lines.append(f'  "{key}": [\n    {inside}\n  ]')
        else:
            lines.append(f'  "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


@pytest.mark.parametrize("name", ["images", "mixed"])
def test_programs_are_the_golden_files(name: str, request: pytest.FixtureRequest) -> None:
    program = request.getfixturevalue(name).program
    path, written = GOLDEN / f"{name}.json", text(program)
    assert json.loads(written) == json.loads(json.dumps(to_json(program)))
    if request.config.getoption("--update-golden"):
        path.write_text(written)
    assert written == path.read_text(), "the program changed: look at it, then --update-golden"


@pytest.mark.parametrize("name", ["images", "mixed"])
def test_a_program_that_was_written_and_read_is_the_same_model(
    name: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    program = model.program
    written = json.dumps(to_json(program))
    read = from_json(json.loads(written), program.weights.copy(), program.library)
    assert json.dumps(to_json(read)) == written
    check_program(read)
    inputs = [
        torch.randn(form.shape, generator=torch.Generator("cpu").manual_seed(1), device="cpu")
        for form in program.interface.inputs
    ]
    named = {"scale": 3.0} if name == "mixed" else {}
    torch.testing.assert_close(bind(read)(*inputs, **named), model(*inputs, **named), rtol=0, atol=0)


def test_classes_that_cannot_be_written_down() -> None:
    class Pair:
        def __init__(self, one: Any, two: Any) -> None:
            self.parts = (one, two)

    def taken_apart(pair: Pair) -> tuple[list[Any], None]:
        return list(pair.parts), None

    torch.utils._pytree.register_pytree_node(Pair, taken_apart, lambda parts, _: Pair(*parts))

    class Network(nn.Module):
        def forward(self, x: Tensor) -> Pair:
            return Pair(x.exp(), x.neg())

    model = sparsegen.compile(Network().eval(), (example(),), threads=1, target="haswell", database=None)
    assert isinstance(model(example()), Pair)
    with pytest.raises(
        ProgramError, match=r"cannot be written down: .*serialized_type_name, or return a tuple"
    ):
        to_json(model.program)


def deep(levels: int) -> list[Any]:
    """Lists in lists."""
    inside: list[Any] = []
    for _ in range(levels):
        inside = [inside]
    return inside


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"schema": 1}, "has schema 1; this version reads 2"),
        ({"schema": 2.0}, "has schema 2.0; this version reads 2"),
        ({"slots": -1}, r"damaged: ValueError at -1, where a count is expected; compile the model again"),
        ({"slots": 1.5}, "damaged: ValueError at 1.5, where a count"),
        ({"arrays": [{"offset": 0}]}, "damaged: KeyError at 'shape'"),
        (
            {"calls": [{"layer": "0", "frees": [], "arguments": [{"hole": 1}], "symbol": "f"}]},
            "KeyError at 'hole'",
        ),
        ({"structure": [99, {}]}, "damaged: "),
        ({"calls": None}, "damaged: TypeError"),
        (
            {"calls": [{"layer": "0", "frees": [], "arguments": [{}], "symbol": "f"}]},
            "damaged: KeyError at ''",
        ),
        ({"known": {"0": {}}}, "damaged: KeyError at ''"),
        ({"structure": [1, {"type": "no.Class", "context": "null", "children_spec": []}]}, "damaged: "),
        (
            {"structure": [1, {"type": "x", "context": '{"__enum__": true}', "children_spec": []}]},
            "enumeration",
        ),
        ({"arena_bytes": float("inf")}, "damaged: ValueError at inf"),
        (
            {"calls": [{"layer": "0", "frees": [], "arguments": [], "symbol": "f", "clears": 1}]},
            "damaged: ValueError at 1, where clears is true or false",
        ),
        ({"signatures": {"f": [{"shape": [-1], "dtype": "float32"}]}}, "ValueError at -1, where a count"),
        ({"structure": deep(100_000)}, "damaged: RecursionError"),
    ],
)
def test_damaged_programs(damage: dict[str, Any], message: str, images: sparsegen.CompiledModel) -> None:
    written = to_json(images.program) | damage
    with pytest.raises(ProgramError, match=message):
        from_json(written, images.program.weights, b"")


def test_what_is_no_program_at_all() -> None:
    with pytest.raises(ProgramError, match="has schema None"):
        from_json([], np.zeros(0, np.uint8), b"")  # type: ignore[arg-type]


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


def test_what_a_process_cannot_bind(images: sparsegen.CompiledModel, mixed: sparsegen.CompiledModel) -> None:
    with pytest.raises(ProgramError, match="library has no function 'other'"):
        bind(changed(images.program, 0, symbol="other"))
    torchs = next(i for i, call in enumerate(mixed.program.calls) if isinstance(call, TorchCall))
    with pytest.raises(ProgramError, match=r"no operator 'aten\.nothing\.default' here"):
        bind(changed(mixed.program, torchs, operator="aten.nothing.default"))


def test_torchs_results_are_looked_at(mixed: sparsegen.CompiledModel) -> None:
    at = next(
        i
        for i, call in enumerate(mixed.program.calls)
        if isinstance(call, TorchCall) and call.arguments[1:] == (2,)
    )
    call = mixed.program.calls[at]
    assert isinstance(call, TorchCall)
    other = bind(
        changed(mixed.program, at, arguments=(call.arguments[0], 1))
    )  # the largest, not the largest two
    with pytest.raises(sparsegen.ToolchainError, match=r"torch gave 3 elements of torch\.float32; 6 of"):
        other(torch.ones(3, 6), scale=3.0)


def test_weights_that_cannot_be_used_where_they_lie(images: sparsegen.CompiledModel) -> None:
    program = images.program
    locked = program.weights.copy()
    locked.flags.writeable = False
    odd = np.zeros(len(locked) + 4, np.uint8)[4:]
    odd[:] = program.weights
    for weights in (locked, odd):
        model = bind(replace(program, weights=weights))
        torch.testing.assert_close(model(example()), images(example()), rtol=0, atol=0)


def changed(program: Program, index: int, **change: Any) -> Program:
    """The program with one of its calls changed."""
    calls = list(program.calls)
    calls[index] = replace(calls[index], **change)
    return replace(program, calls=tuple(calls))


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


def test_weights_are_one_block_and_used_where_they_lie(images: sparsegen.CompiledModel) -> None:
    program = images.program
    model = bind(program)
    expected = model(example())
    assert not np.isnan(expected.numpy()).any()
    kept = program.weights.copy()
    floats = [placed for placed in program.arrays if placed.dtype == "float32"]
    for placed in floats:
        program.weights[placed.offset : placed.end].view(np.float32)[:] = np.nan
    assert np.isnan(model(example()).numpy()).any()
    program.weights[:] = kept
    torch.testing.assert_close(model(example()), expected, rtol=0, atol=0)


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


def test_torchs_results_have_the_shapes_that_were_told(mixed: sparsegen.CompiledModel) -> None:
    program = mixed.program
    last = next(i for i, call in enumerate(program.calls) if isinstance(call, TorchCall) and call.slot == 8)
    call = program.calls[last]
    assert isinstance(call, TorchCall)
    for other, message in (
        ({"operator": "aten.min.dim", "arguments": (call.arguments[0], 0)}, "torch computed .* as result 1"),
        ({"operator": "aten.amax.default", "arguments": (call.arguments[0], (0,))}, r"computed \(2,\) as"),
    ):
        model = bind(changed(program, last, **other))
        with pytest.raises(sparsegen.ToolchainError, match=message):
            model(torch.ones(3, 6), scale=3.0)


@pytest.mark.parametrize(("kind", "name"), [("dtype", "nope"), ("dtype", "add"), ("device", "abacus")])
def test_constants_that_torch_lacks(kind: Any, name: str, mixed: sparsegen.CompiledModel) -> None:
    at = next(i for i, call in enumerate(mixed.program.calls) if isinstance(call, TorchCall))
    with pytest.raises(ProgramError, match=f"torch has no {kind} '{name}' here"):
        bind(changed(mixed.program, at, keywords=(("dtype", TorchConstant(kind, name)),)))


def test_code_for_another_cpu_is_not_run(
    images: sparsegen.CompiledModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TargetError, match="the code is for 'abacus': that is no CPU that LLVM knows"):
        bind(replace(images.program, target="abacus"))
    haswell = disguised(read_host(), "haswell")
    monkeypatch.setattr(target, "this_host", lambda: haswell)
    bind(images.program)
    with pytest.raises(TargetError, match=r"is for 'znver4' and may use .*avx512f.* compile the model for"):
        bind(replace(images.program, target="znver4"))
    bind(replace(images.program, target="znver4", without=haswell.lacks(target._features("znver4"))))


def test_weights_with_gaps_between_them_are_copied(images: sparsegen.CompiledModel) -> None:
    spread = replace(images.program, weights=np.repeat(images.program.weights, 2)[::2])
    torch.testing.assert_close(bind(spread)(example()), images(example()), rtol=0, atol=0)


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


def test_inputs_that_nothing_reads_are_not_laid_out() -> None:
    class Second(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return y.exp()

    model = sparsegen.compile(
        Second().eval(), (example(), example(1)), threads=1, target="haswell", database=None
    )
    assert [call.layer for call in model.program.calls] == ["y", "exp", "output 0"]
    check_program(model.program)
    torch.testing.assert_close(model(example(), example(1)), example(1).exp())


def test_constants_of_one_element_and_any_strides() -> None:
    expanded = torch.ones((), dtype=torch.float32).expand(1)
    assert bytes_of(expanded).tobytes() == np.float32(1).tobytes()
