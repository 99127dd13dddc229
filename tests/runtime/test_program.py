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
from sparsegen import compiler
from sparsegen.errors import ProgramError
from sparsegen.runtime.check import check_program, faults
from sparsegen.runtime.model import bind
from sparsegen.runtime.program import (
    KernelCall,
    NewTensor,
    PlacedArray,
    Program,
    Region,
    Slot,
    TorchCall,
    Weight,
)
from sparsegen.runtime.program_json import from_json, to_json
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


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"schema": 2}, "has schema 2; this version reads 1"),
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
        ({"threads": 0}, "it is for 0 threads"),
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
    with pytest.raises(sparsegen.ToolchainError, match="torch gave 3 elements, and 6 are read"):
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
    place = next(each for each in first.arguments if isinstance(each, Region))
    torchs = next(i for i, call in enumerate(other.calls) if isinstance(call, TorchCall))
    written = first.arguments[-1]
    assert isinstance(written, Region)
    damaged = {
        r"names slot 9 of \d+": changed(one, 0, arguments=(Slot(9), *enter.arguments[1:])),
        r"names array 99 of \d+": changed(one, 1, arguments=(place, Weight(99), written)),
        "its last argument has to be": changed(one, 1, arguments=(written, place, Weight(0))),
        "makes a tensor that is not its last": changed(one, 1, arguments=(NewTensor(1, (2,)), written)),
        r"names bytes [\d,]+ to [\d,]+ of an arena of": replace(one, arena_bytes=written.end - 1),
        "elements of type float3": changed(one, 1, arguments=(place, replace(written, dtype="float3"))),
        "do not hold a value of shape": changed(one, 1, arguments=(replace(place, offset=8192), written)),
        "and writes there": changed(one, 1, arguments=(place, place), halo=None, clears=False),
        "halo that does not suit": changed(one, 1, arguments=(place, NewTensor(1, (2,)))),
        "clears a halo that it has not": changed(one, len(one.calls) - 1, clears=True),
        "reads slot 0, which holds nothing": replace(one, interface=replace(one.interface, inputs=())),
        "array 0 lies outside": replace(one, weights=one.weights[:4]),
        "array 0 has elements of type complex64": replace(one, arrays=(PlacedArray(0, (1,), "complex64"),)),
        "array 0 starts at byte 4": replace(one, arrays=(PlacedArray(4, (1,), "float32"), *one.arrays[1:])),
        "an output is slot 77": replace(one, outputs=(77,)),
        "a known output is array 77": replace(
            other, interface=replace(other.interface, known={0: Weight(77)})
        ),
        "writes over input 0": changed(other, torchs, slot=0),
        "holds nothing at the end": replace(other, outputs=(other.slots - 1,) * 3, calls=other.calls[:1]),
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
