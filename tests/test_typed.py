"""Arguments of other types are refused by name: of the helper itself, and of every public function."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from sparsegen import devices, hetero, rewriting
from sparsegen.devices import Device, load_devices, make_device
from sparsegen.errors import OptionError, SparsegenError
from sparsegen.hetero.operators import export, export_reading
from sparsegen.typed import plain_number, typed, whole_number


@typed
def sample(
    path: str | os.PathLike[str] = "",
    count: int = 1,
    share: float = 1.0,
    *names: str,
    goal: Literal["latency", "throughput"] = "latency",
    flag: bool | None = None,
    pair: tuple[int, str] = (1, ""),
    sizes: Sequence[int] = (),
    stream: Iterable[int] = (),
    times: Mapping[str, float] = {},
    listen: Callable[[str], None] | None = None,
    device: Device | None = None,
    anything: Any = None,
) -> str:
    """What it was given."""
    return f"{path} {count} {share} {names}"


@pytest.mark.parametrize(
    "given",
    [
        {"path": Path("x")},
        {"count": np.int64(3), "share": 2},
        {"share": np.float32(2)},
        {"goal": "throughput", "flag": True},
        {"pair": (3, "x"), "sizes": [1, 2]},
        {"sizes": range(3), "stream": iter(["not looked at"])},
        {"times": {"a": 1, "b": 0.5}, "listen": print},
        {"device": Device("a", "cpu"), "anything": object()},
    ],
)
def test_what_is_allowed_passes(given: dict[str, Any]) -> None:
    assert sample(**given).startswith(str(given.get("path", "")))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"path": 3}, "path is 3: give a text in Unicode or a path"),
        ({"path": "\ud800"}, r"path is '\ud800': give a text in Unicode or a path"),
        ({"count": 1.5}, "count is 1.5: give a whole number"),
        ({"count": True}, "count is True: give a whole number"),
        ({"share": "1"}, "share is '1': give a number"),
        ({"goal": "power"}, "goal is 'power': choose of latency, throughput"),
        ({"goal": ["latency"]}, "goal is of type list: choose of latency, throughput"),
        ({"flag": 1}, "flag is 1: give true or false or None"),
        ({"pair": (1, 2)}, "pair is of type tuple: give a tuple of a whole number, a text in Unicode"),
        ({"pair": (1,)}, "pair is of type tuple"),
        ({"sizes": "12"}, "sizes is '12': give a list, each of it a whole number"),
        ({"sizes": {1}}, "sizes is of type set"),
        ({"stream": 3}, "stream is 3: give a list"),
        ({"times": {"a": "1"}}, "times is of type dict: give a mapping of a text in Unicode to a number"),
        ({"listen": 3}, "listen is 3: give a function or None"),
        ({"device": "cpu"}, "device is 'cpu': give a Device or None"),
        ({"path": "x" * 100}, None),
        ({"count": "x" * 100}, "count is 'xxx"),
    ],
)
def test_what_is_not_is_named(given: dict[str, Any], message: str | None) -> None:
    if message is None:
        assert sample(**given)
        return
    with pytest.raises(OptionError) as raised:
        sample(**given)
    assert message in str(raised.value)
    assert len(str(raised.value)) < 200


def test_numbers_of_other_types_arrive_as_pythons_own() -> None:
    @typed
    def numbers(count: int | None, share: float = 0.0, *more: int, anything: Any = None) -> tuple[Any, ...]:
        return count, share, *more, anything

    found = numbers(np.int64(3), np.float32(0.5), np.uint8(4), torch.tensor(5), anything=np.int64(6))
    assert found == (3, 0.5, 4, 5, 6)
    assert [type(each) for each in found] == [int, float, int, int, np.int64]
    assert plain_number((np.int32(1), [np.float64(0.5), "x", None, True])) == (1, [0.5, "x", None, True])
    for wrong in (np.bool_(True), torch.tensor(True), np.float64(3.0), torch.tensor([3, 4]), "3", None):
        assert whole_number(wrong) is None


def test_arguments_by_position_and_the_rest_of_them() -> None:
    assert sample("x", 2, 3.0, "a", "b") == "x 2 3.0 ('a', 'b')"
    with pytest.raises(OptionError, match="count is None"):
        sample("x", None)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="names is 3: give a text in Unicode"):
        sample("x", 2, 3.0, "a", 3)  # type: ignore[arg-type]
    assert inspect.signature(sample).parameters["count"].default == 1
    assert sample.__doc__ == "What it was given."


def public_functions() -> dict[str, Callable[..., Any]]:
    """Those of the scheduler, devices and rewriting that take arguments, and an application's methods."""
    found = {
        f"{room.__name__}.{name}": getattr(room, name)
        for room in (hetero, devices, rewriting)
        for name in room.__all__
    }
    found |= {f"Application.{name}": getattr(hetero.Application, name) for name in vars(hetero.Application)}
    found["PlannedModel"] = hetero.PlannedModel.__init__
    for module in (export, export_reading):
        names = ("export_operators", "as_problem", "to_json", "from_json")
        found |= {name: getattr(module, name) for name in names if hasattr(module, name)}
    functions = {name: each for name, each in found.items() if inspect.isfunction(each)}
    return {
        name: each
        for name, each in functions.items()
        if "._" not in name and {*inspect.signature(each).parameters} - {"self"}
    }


class Strange:
    """No function takes one."""


@pytest.mark.parametrize("name", public_functions())
def test_every_public_function_names_a_wrong_argument(name: str) -> None:
    function = public_functions()[name]
    parameters = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    methods = {"self": hetero.Application()} if "self" in inspect.signature(function).parameters else {}
    given = {
        each.name: Strange()
        for each in parameters
        if each.default is inspect.Parameter.empty and each.kind is not inspect.Parameter.VAR_POSITIONAL
    } or {parameters[0].name: Strange()}
    if parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        with pytest.raises(SparsegenError, match=rf"{parameters[0].name} is of type Strange: give "):
            function(*methods.values(), Strange())
        return
    with pytest.raises(SparsegenError, match=r"Strange|max_error and knots"):
        function(**methods, **given)


MODEL, X = torch.nn.Linear(4, 4).eval(), (torch.zeros(1, 4),)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hetero.solve(None), "problem is None: give a Problem, a mapping"),
        (lambda: hetero.solve(3), "problem is 3"),
        (lambda: hetero.solve({}, limit_seconds="1"), "limit_seconds is '1': give a number or None"),
        (lambda: hetero.solve({}, seed=None), "seed is None: give a whole number"),
        (lambda: hetero.plan(MODEL, X, devices=3), "devices is 3: give a Machine, a text in Unicode, a path"),
        (lambda: hetero.plan(MODEL, X, goal="speed"), "goal is 'speed': choose of latency, throughput"),
        (lambda: hetero.plan(MODEL, X, granularity="atom"), "granularity is 'atom': choose of layer, block"),
        (lambda: hetero.plan(MODEL, X[0]), "example_inputs is of type Tensor: give a tuple"),
        (lambda: hetero.plan(MODEL, X, name="\udfff"), "name is"),
        (lambda: hetero.plan("resnet18"), "model is 'resnet18': give a Module"),
        (lambda: hetero.load_plan(3), "path is 3: give a text in Unicode or a path"),
        (lambda: load_devices(None), "path is None"),
        (lambda: devices.table(3), "name is 3"),
        (lambda: make_device("a", "cpu", 3), "settings is 3: give a mapping"),
        (lambda: devices.connect([3], (), "a"), "devices is of type list: give a list, each of it a Device"),
        (lambda: rewriting.certificate(3), "fit is 3: give a PiecewiseLinear"),
        (lambda: rewriting.approximate(3, knots=2), "3 is no function"),
    ],
)  # fmt: skip
def test_what_users_have_given(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(SparsegenError) as raised:
        call()
    assert message in str(raised.value)
