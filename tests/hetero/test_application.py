"""Modules put together, with state from one input to the next."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparsegen.compiler import compile_graph
from sparsegen.errors import InputError, ModelError, OptionError
from sparsegen.hetero.operators.application import Application
from sparsegen.hetero.operators.application_graph import joined
from sparsegen.hetero.operators.cut import GRANULARITIES, operators, part_of
from sparsegen.hetero.operators.modules import ModuleOperator
from sparsegen.torch_graph.graph import TorchGraph
from tests.frontend.checking import Function, images
from tests.hetero.networks import Decoder

FRAMES = [images(2, 3, 8, 8, seed=seed) for seed in range(4)]


class Encoder(nn.Module):
    """Features of images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu().mean((2, 3))


def captioner() -> tuple[Application, Encoder, Decoder]:
    torch.manual_seed(0)
    encoder, decoder, app = Encoder(), Decoder(), Application()
    frame = app.input("frame", torch.zeros(2, 3, 8, 8))
    features = app.add("encoder", encoder, frame)
    scores, _ = app.add("decoder", decoder, features, carried=("state", torch.zeros(2, 7)))
    app.returns(scores)
    return app, encoder, decoder


@torch.no_grad()
def expected(encoder: Encoder, decoder: Decoder) -> list[Tensor]:
    state, found = torch.zeros(2, 7), []
    for frame in FRAMES:
        scores, state = decoder(encoder(frame), state)
        found.append(scores)
    return found


def test_calls_one_after_the_other() -> None:
    app, encoder, decoder = captioner()
    wanted = expected(encoder, decoder)
    for _ in range(2):
        for frame, scores in zip(FRAMES, wanted, strict=True):
            torch.testing.assert_close(app(frame), scores)
        app.reset()
    assert not torch.equal(wanted[0], Decoder()(encoder(FRAMES[1]), torch.zeros(2, 7))[0])


def test_operators_carry_what_they_are_fed() -> None:
    app, _, _ = captioner()
    encoder, decoder = app.operators()
    assert (encoder.name, encoder.reads, encoder.carries) == ("encoder", ("frame",), ())
    assert (decoder.name, decoder.reads, decoder.carries) == ("decoder", ("encoder",), ("decoder",))
    assert [form.name for form in decoder.inputs] == ["encoder", "state"]
    assert [(form.name, form.shape) for form in decoder.outputs] == [
        ("decoder[0]", (2, 4)),
        ("decoder[1]", (2, 7)),
    ]
    assert decoder.bytes == 4 * (8 + 14)


def test_a_state_that_another_operator_feeds() -> None:
    app = Application()
    x = app.input("x", torch.zeros(3))
    before = app.state("before", torch.ones(3))
    total = app.add("total", torch.add, x, before)
    assert not isinstance(total, tuple)
    half = app.add("half", lambda value: value / 2, total)
    assert not isinstance(half, tuple)
    app.feed(before, half)
    app.returns(total, half)
    first, second = app.operators()
    assert (first.carries, second.carries) == (("half",), ())
    assert [app(torch.zeros(3))[0][0].item() for _ in range(3)] == [1.0, 0.5, 0.25]
    results, states = app.run([torch.zeros(3)], {"before": torch.full((3,), 8.0)})
    assert (results[0][0].item(), states["before"][0].item()) == (8.0, 4.0)


def test_results_that_nothing_reads_are_returned() -> None:
    app = Application()
    x = app.input("x", images(2, 3))
    left, _ = app.add("parts", lambda value: {"a": value[:, :1], "b": value[:, 1:]}, x)
    app.add("sum", torch.sum, "parts[0]")
    assert left.name == "parts[0]"
    assert app.results == ("parts[1]", "sum")


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("made", [TorchGraph, lambda part: compile_graph(part, threads=1)])
def test_joined_layers_compute_the_same(granularity: str, made: type) -> None:
    app, encoder, decoder = captioner()
    whole = joined(app)
    found = operators(whole.graph, granularity, carried=whole.carried)  # type: ignore[arg-type]
    assert list(whole.graph.inputs) == ["frame", "state"]
    assert whole.results == 1
    assert whole.carried == {"state": whole.graph.outputs[1]}
    assert {layer.name.partition(".")[0] for layer in whole.graph.layers} == {"encoder", "decoder"}
    parts = {each.name: made(part_of(whole.graph, each.layers)) for each in found}
    values = {"state": torch.zeros(2, 7)}
    for frame, wanted in zip(FRAMES, expected(encoder, decoder), strict=True):
        values["frame"] = frame
        for each in found:
            results = parts[each.name](*(values[form.name] for form in each.inputs))
            values.update((form.name, result) for form, result in zip(each.outputs, results, strict=True))
        torch.testing.assert_close(values[whole.graph.outputs[0]], wanted, rtol=1e-4, atol=1e-5)
        values["state"] = values[whole.carried["state"]]


def test_a_function_cannot_be_joined() -> None:
    app = Application()
    app.add("double", lambda x: x * 2, app.input("x", images(3)))
    with pytest.raises(ModelError, match="can only be placed whole"):
        joined(app)


def test_implementations_of_a_module() -> None:
    decoder = Decoder()
    operator = ModuleOperator(decoder, (images(2, 5), images(2, 7)), "decoder")
    inputs = images(2, 5, seed=3), images(2, 7, seed=4)
    with torch.no_grad():
        wanted = decoder(*inputs)
    for function in (operator.in_torch(), operator.compiled(threads=1)):
        for result, each in zip(function(*inputs), wanted, strict=True):
            torch.testing.assert_close(result, each, rtol=1e-5, atol=1e-6)
    on_meta = operator.in_torch("meta")(*(each.to("meta") for each in inputs))
    assert [(each.device.type, each.shape) for each in on_meta] == [("meta", (2, 4)), ("meta", (2, 7))]
    assert next(decoder.parameters()).device.type == "cpu"
    with pytest.raises(InputError, match="operator 'decoder' failed"):
        operator.in_torch()(images(2, 6), inputs[1])
    function = ModuleOperator(torch.neg, (images(3),), "neg")
    for call in (function.compiled, lambda: function.in_torch("meta")):
        with pytest.raises(OptionError, match="no torch module"):
            call()


def test_modules_that_are_refused() -> None:
    for module, inputs, message in (
        (nn.Linear(3, 2), (images(2, 3),), "training mode"),
        (nn.Linear(3, 2).eval(), (images(2, 4),), "cannot run on inputs of shape"),
        (Function(lambda x: (x, 3)), (images(2),), "returns a value of type int"),
        (Function(lambda x: ()), (images(2),), "returns nothing"),
        (Function(lambda x: x.to(torch.complex64)), (images(2),), "operators pass on"),
    ):
        with pytest.raises(ModelError, match=message):
            ModuleOperator(module, inputs, "operator")


def test_applications_that_are_refused() -> None:
    app = Application()
    with pytest.raises(ModelError, match="no operators"):
        app.operators()
    x = app.input("x", images(2, 3))
    state = app.state("state", images(2, 3))
    y = app.add("y", torch.neg, x)
    assert not isinstance(y, tuple)
    other = Application().input("x", images(2, 3))
    zeros = torch.zeros(2, 3)
    for call, message in (
        (lambda: app.add("z", torch.neg, "w"), "reads 'w', which is not there.*close a circle by state"),
        (lambda: app.add("z", torch.neg, other), "reads 'x', which is not there"),
        (lambda: app.add("y", torch.neg, x), "there already"),
        (lambda: app.input("x", zeros), "there already"),
        (lambda: app.state("y", zeros), "there already"),
        (lambda: app.input("a.b", zeros), "is no name"),
        (lambda: app.input("", zeros), "is no name"),
        (lambda: app.input("a", 3), "give a torch.Tensor"),  # type: ignore[arg-type]
        (lambda: app.feed(x, y), "is no state"),
        (lambda: app.feed(state, x), "no operator's result"),
        (lambda: app.feed(state, state), "no operator's result"),
        (lambda: app.add("z", torch.add, x, carried=("y", zeros)), "there already"),
        (lambda: app.add("z", torch.add, x, carried=("z", zeros)), "different names"),
        (lambda: app.add("z", torch.add, x, carried=("s", torch.zeros(3))), "but 'z', which it is carried"),
        (lambda: app.add("z", torch.addcmul, x, carried=("s", (zeros, zeros))), "carries 2 tensors on"),
        (app.operators, "nothing feeds state 'state'"),
    ):
        with pytest.raises(ModelError, match=message):
            call()
    assert list(app.modules) == ["y"]
    app.feed(state, y)
    with pytest.raises(ModelError, match="fed by 'y' already"):
        app.feed(state, y)
    with pytest.raises(InputError, match="1 inputs are needed, 2 were given"):
        app(zeros, zeros)
    with pytest.raises(InputError, match=r"'x' is a int; give a torch[.]Tensor"):
        app(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'x' is torch[.]float32 of shape"):
        app(images(3, 3))
    with pytest.raises(InputError, match="states  are given; state are needed"):
        app.run([zeros], {})
