"""Programs as data: written down, read again, and looked at by a check that knows nothing of the compiler."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sparsegen
from sparsegen import target
from sparsegen.errors import ProgramError, TargetError
from sparsegen.runtime.check import check_program
from sparsegen.runtime.model import bind
from sparsegen.runtime.operators import bytes_of
from sparsegen.runtime.program import (
    Program,
    TorchCall,
    TorchConstant,
)
from sparsegen.runtime.program_json import from_json, to_json
from sparsegen.target import disguised, read_host
from tests.runtime.networks import changed, example

GOLDEN = Path(__file__).parent / "golden"


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
        ({"slots": -1}, r"damaged: -1, where a count is expected; compile the model again"),
        ({"slots": 1.5}, "damaged: 1.5, where a count"),
        ({"arrays": [{"offset": 0}]}, "damaged: 'shape' is missing"),
        (
            {"calls": [{"layer": "0", "frees": [], "arguments": [{"hole": 1}], "symbol": "f"}]},
            "'hole' is missing",
        ),
        ({"structure": [99, {}]}, "damaged: "),
        ({"calls": None}, "damaged: .*NoneType"),
        (
            {"calls": [{"layer": "0", "frees": [], "arguments": [{}], "symbol": "f"}]},
            "damaged: '' is missing",
        ),
        ({"known": {"0": {}}}, "damaged: '' is missing"),
        ({"structure": [1, {"type": "no.Class", "context": "null", "children_spec": []}]}, "damaged: "),
        (
            {"structure": [1, {"type": "x", "context": '{"__enum__": true}', "children_spec": []}]},
            "enumeration",
        ),
        ({"arena_bytes": float("inf")}, "damaged: inf"),
        (
            {"calls": [{"layer": "0", "frees": [], "arguments": [], "symbol": "f", "clears": 1}]},
            "damaged: 1, where clears is true or false",
        ),
        ({"signatures": {"f": [{"shape": [-1], "dtype": "float32"}]}}, "-1, where a count"),
        ({"structure": deep(100_000)}, "damaged: maximum recursion depth"),
    ],
)
def test_damaged_programs(damage: dict[str, Any], message: str, images: sparsegen.CompiledModel) -> None:
    written = to_json(images.program) | damage
    with pytest.raises(ProgramError, match=message):
        from_json(written, images.program.weights, b"")


def test_what_is_no_program_at_all() -> None:
    with pytest.raises(ProgramError, match="has schema None"):
        from_json([], np.zeros(0, np.uint8), b"")  # type: ignore[arg-type]


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
