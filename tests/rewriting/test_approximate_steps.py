"""Functions of epilogues become piecewise linear within the error that is allowed, where that pays."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sparsegen
from sparsegen.devices.operators import describe_graph
from sparsegen.dump import graph_text
from sparsegen.errors import OptionError
from sparsegen.frontend import from_torch
from sparsegen.graph import ApproximatedStep, Identity, Layer, LayerGraph, Piecewise, Step
from sparsegen.inspection import inspect
from sparsegen.inspection.table import approximation_lines
from sparsegen.kernels.piecewise import symmetry
from sparsegen.kernels.step_costs import EXACT_CYCLES
from sparsegen.options import APPROXIMATED
from sparsegen.rewriting.approximate_steps import approximate_steps
from sparsegen.runtime.program_json import from_json, to_json
from tests.reference import evaluate, evaluate_step

PARAMETERS = {"elu": (1.3, 1.1, 0.8), "softplus": (2.0, 20.0)}
EVEN = ("gelu", "gelu_tanh", "log_sigmoid", "silu", "softplus")
ODD = ("erf", "sigmoid", "tanh")
ROUNDED = 4e-6  # by float32, in kernels


def with_step(step: Step) -> Layer:
    return Layer("y", Identity(), ("x",), (1,), (step,))


def of_step(op: str) -> LayerGraph:
    step = Step(op, parameters=PARAMETERS.get(op, ()))
    return LayerGraph({"x": (1,)}, [with_step(step)], ("y",))


def approximated(op: str, error: float) -> Step:
    (layer,) = approximate_steps(of_step(op), error).layers
    return layer.epilogue[0]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(6, 16, 3, padding=1), nn.GELU(), nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.SiLU()),
        *(nn.Conv2d(16, 8, 1), nn.Softplus(), nn.Hardswish(), nn.Flatten(), nn.Linear(512, 10), nn.Sigmoid()),
    ).eval()


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(6, 4, 1), nn.GELU(), nn.Conv2d(4, 4, 1), nn.SiLU()).eval()


def images(scale: float = 3.0) -> Tensor:
    return torch.randn(2, 6, 8, 8, generator=torch.Generator().manual_seed(1)) * scale


def told(model: sparsegen.CompiledModel) -> dict[str, ApproximatedStep]:
    return {each.function: each for layer in model.layers for each in layer.approximated}


def test_the_names_are_those_that_have_a_cost() -> None:
    assert set(APPROXIMATED) == set(EXACT_CYCLES)


@pytest.mark.parametrize("op", APPROXIMATED)
def test_error_on_the_whole_line(op: str) -> None:
    """In float64, far out too; the report's error holds, and is within what is allowed."""
    x = torch.cat([torch.linspace(-12, 12, 801), torch.linspace(-1e3, 1e3, 41)]).double()
    exact = evaluate_step(of_step(op).layers[0].epilogue[0], x, {})
    step = approximated(op, 1e-2)
    assert step.approximated is not None
    assert step.approximated.function == op
    if step.op == op:
        assert (step.approximated.knots, step.approximated.error) == (0, 0.0)
        assert "cycles" in step.approximated.why
        return
    difference = (evaluate_step(step, x, {}) - exact).abs().max().item()
    assert 0.5 * step.approximated.error < difference <= step.approximated.error * (1 + 1e-9) <= 1e-2
    assert step.approximated.why.startswith("proved")


def test_what_is_symmetric_takes_half_the_operations() -> None:
    found = {op: symmetry(Piecewise.of(approximated(op, 1e-2).parameters)) for op in (*EVEN, *ODD, "mish")}
    assert found == {**dict.fromkeys(EVEN, "even"), **dict.fromkeys(ODD, "odd"), "mish": None}


def test_what_does_not_pay_stays_exact() -> None:
    exact = {
        op for op in ("hardswish", "softsign", "tanh", "mish", "gelu") if approximated(op, 1e-3).op == op
    }
    assert exact == {"hardswish", "softsign", "tanh", "mish"}
    assert "it takes 12 cycles a vector" in approximated("tanh", 1e-3).approximated.why  # type: ignore[union-attr]


def test_other_devices_and_dumps_see_the_function() -> None:
    graph = approximate_steps(of_step("gelu"), 1e-2)
    assert describe_graph(graph)["y"].steps == ("gelu",)
    assert "Identity[](x) |> piecewise(gelu, knots=6, error=0.0093)" in graph_text(graph)


def test_inspection_tells_each_function_once() -> None:
    found = inspect(network(), (images(),), threads=1, target="haswell", approximate=1e-2)
    assert list(approximation_lines(found)) == [
        "gelu: piecewise linear, 6 knots, error at most 0.0093",
        "silu: piecewise linear, 9 knots, error at most 0.0097",
        "softplus: piecewise linear, 8 knots, error at most 0.0088",
        "hardswish stays exact: it takes 3 cycles a vector, 10 knots would take 8",
        "sigmoid: piecewise linear, 6 knots, error at most 0.0074",
    ]
    (gelu, *_) = json.loads(found.to_json())["approximated"]
    assert (gelu["function"], gelu["knots"], gelu["steps"]) == ("gelu", 6, 1)
    exact = inspect(network(), (images(),), threads=1, target="haswell")
    assert json.loads(exact.to_json())["approximated"] == []


def test_torch_elus_are_known_by_their_form() -> None:
    """ELU, SELU and CELU are one step; one that turns its input around is none that is known."""
    x = torch.linspace(-12, 12, 801).double()
    for parameters in ((1.0, 1.0, 1.0), (1.6732632, 1.050701, 1.0), (0.5, 1.0, 2.0)):
        step = Step("elu", parameters=parameters)
        (layer,) = approximate_steps(LayerGraph({"x": (1,)}, [with_step(step)], ("y",)), 1e-2).layers
        assert layer.epilogue[0].op == "piecewise"
        gap = evaluate_step(step, x, {}) - evaluate_step(layer.epilogue[0], x, {})
        assert 5e-3 < gap.abs().max() <= 1e-2
    turned = with_step(Step("elu", parameters=(1.0, 1.0, -1.0)))
    (layer,) = approximate_steps(LayerGraph({"x": (1,)}, [turned], ("y",)), 1e-2).layers
    assert layer.epilogue[0].op == "elu"
    assert "parameters (1.0, 1.0, -1.0)" in layer.epilogue[0].approximated.why  # type: ignore[union-attr]


def test_layers_err_by_no_more_than_allowed_in_float64() -> None:
    """The compiled network against its own graph, exact; each function's error goes through what follows."""
    model, x = network(), images()
    exact = from_torch(model, (x,))
    allowed = approximate_steps(exact, 1e-2)
    for before, after in zip(exact.layers, allowed.layers, strict=True):
        steps = zip(before.epilogue, after.epilogue, strict=True)
        for one, other in steps:
            values = torch.linspace(-20, 20, 401).double()
            if one.operand is None:
                gap = evaluate_step(one, values, {}) - evaluate_step(other, values, {})
                assert gap.abs().max() <= 1e-2
    compiled = sparsegen.compile(model, (x,), threads=1, target="haswell", approximate=1e-2)
    (expected,) = evaluate(allowed, (x,))
    torch.testing.assert_close(compiled(x).double(), expected, rtol=0, atol=10 * ROUNDED)


def test_reports_say_what_became_of_each_function() -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(6, 4, 1), nn.GELU(), nn.Conv2d(4, 4, 1), nn.SiLU(), nn.Conv2d(4, 4, 1), nn.Hardswish()
    model, x = nn.Sequential(*layers).eval(), images()
    errors = {"gelu": 1e-3, "hardswish": 1e-2}
    compiled = sparsegen.compile(model, (x,), threads=1, target="haswell", approximate=errors)
    found = told(compiled)
    assert found.keys() == {"gelu", "hardswish"}
    assert 10 < found["gelu"].knots < 40
    assert 0 < found["gelu"].error <= 1e-3
    assert (found["hardswish"].knots, found["hardswish"].error) == (0, 0.0)
    by_name = {layer.name: [each.function for each in layer.approximated] for layer in compiled.layers}
    assert by_name["0"] == ["gelu"]
    assert by_name["4"] == ["hardswish"]
    program = compiled.program
    written = json.loads(json.dumps(to_json(program)))
    assert from_json(written, program.weights, program.library).layers == compiled.layers


def test_none_changes_nothing() -> None:
    model, x = small(), images()
    plain = sparsegen.compile(model, (x,), threads=1, target="haswell")
    none = sparsegen.compile(model, (x,), threads=1, target="haswell", approximate=None)
    other = sparsegen.compile(model, (x,), threads=1, target="haswell", approximate={"mish": 1e-2})
    assert not told(plain)
    for each in (none, other):
        assert torch.equal(plain(x), each(x))
        assert each.layers == plain.layers
    graph = from_torch(model, (x,))
    assert approximate_steps(graph, None) is graph


def test_special_values_go_through() -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf, 1e30, -1e30, 1e4, -1e4, 0.0]).reshape(1, 1, 1, 8)
    compiled = sparsegen.compile(nn.Sequential(nn.GELU()).eval(), (x,), threads=1, approximate=1e-2)
    actual = compiled(x).flatten()
    assert actual[0].isnan()
    assert actual[1] == math.inf
    assert actual[3] == x.flatten()[3]
    torch.testing.assert_close(actual[5], torch.tensor(1e4), rtol=1e-6, atol=1e-2)
    assert actual[[2, 4, 6, 7]].abs().max() <= 1e-2


BAD: dict[str, tuple[Any, str]] = {
    "zero": (0.0, "approximate is 0.0: give the largest error"),
    "negative": (-1e-3, "finite number above 0"),
    "nan": (math.nan, "approximate is nan"),
    "infinite": (math.inf, "approximate is inf"),
    "bool": (True, "approximate is True"),
    "text": ("1e-3", "approximate is '1e-3'"),
    "unknown name": ({"relu": 1e-3}, "names 'relu': these functions may be approximated: elu, erf, gelu"),
    "bad error of a name": ({"gelu": 0}, "approximate is 0 of gelu"),
    "bool of a name": ({"gelu": False}, "approximate is False of gelu"),
    "too small": (1e-8, "knots of gelu: allow more, for 1,000 knots are the most"),
    "too small of a name": ({"silu": 1e-12}, "knots of silu"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_errors_are_refused(name: str) -> None:
    model, x = small(), images()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(OptionError) as caught:
        sparsegen.compile(model, (x,), threads=1, approximate=BAD[name][0])
    assert BAD[name][1] in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(OptionError):
        inspect(model, (x,), threads=1, approximate=BAD[name][0])
