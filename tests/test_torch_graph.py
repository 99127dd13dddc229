"""A layer graph that torch computes gives what the reference evaluator, of another kind, gives in float64."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, note
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils import _pytree

from sparsegen.errors import InputError
from sparsegen.frontend import from_torch
from sparsegen.graph import (
    BINARY,
    UNARY,
    AdaptivePool2d,
    Concat,
    Conv2d,
    Core,
    Gather,
    GroupNorm,
    Identity,
    Interpolation,
    Layer,
    LayerGraph,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    MatMul,
    Mean,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Pool2d,
    Recurrent,
    Reduce,
    Resample2d,
    Reshape,
    SeparableConv2d,
    Shape,
    Slice,
    Softmax,
    Step,
)
from sparsegen.torch_graph.graph import TorchGraph
from tests.frontend.checking import Function, images
from tests.hetero.networks import small
from tests.random_networks import RandomNetwork
from tests.reference import evaluate
from tests.sampling import examples

TOLERANCE = 1e-5
IMAGES = (2, 4, 9, 8)


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def graph_of(core: Core, sources: list[Shape], shape: Shape, steps: tuple[Step, ...] = ()) -> LayerGraph:
    inputs = {f"x{place}": source for place, source in enumerate(sources)}
    return LayerGraph(inputs, [Layer("layer", core, tuple(inputs), shape, steps)], ("layer",))


def check(graph: LayerGraph, inputs: tuple[Tensor, ...] | None = None, tolerance: float = TOLERANCE) -> None:
    inputs = inputs or tuple(images(*shape, seed=at) for at, shape in enumerate(graph.inputs.values()))
    before = [each.clone() for each in inputs]
    results = _pytree.tree_leaves(TorchGraph(replace(graph, known_outputs={}, output_spec=None))(*inputs))
    expected = evaluate(graph, inputs)
    for result, wanted in zip(results, expected[:1], strict=True):
        assert tuple(result.shape) == tuple(wanted.shape)
        if not wanted.is_floating_point():
            assert torch.equal(result, wanted)
            continue
        largest = float(wanted.double().abs().nan_to_num(0, 0, 0).max()) if wanted.numel() else 0.0
        torch.testing.assert_close(
            result.double(),
            wanted.double(),
            rtol=tolerance,
            atol=tolerance * max(1.0, largest),
            equal_nan=True,
        )
    assert all(torch.equal(each, old) for each, old in zip(inputs, before, strict=True))


CONV = Conv2d(array(6, 4, 3, 2), array(6), (2, 1), (1, 1, 0, 0), (1, 2))
NEAREST = Interpolation(np.array([[0], [0], [1], [3]], np.int32), np.ones((4, 1), np.float32))
WEIGHTED = Interpolation(np.array([[0, 1], [1, 2], [0, 7]], np.int32), array(3, 2))
CORES: dict[str, tuple[Core, list[Shape], Shape]] = {
    "identity": (Identity(), [IMAGES], IMAGES),
    "conv": (CONV, [IMAGES], (2, 6, 5, 6)),
    "conv padded unevenly": (replace(CONV, padding=(1, 2, 0, 1)), [IMAGES], (2, 6, 5, 7)),
    "grouped": (Conv2d(array(8, 2, 1, 1), None, groups=2), [IMAGES], (2, 8, 9, 8)),
    "separable": (
        SeparableConv2d(
            Conv2d(array(4, 1, 3, 3), array(4), padding=(1, 1, 1, 1), groups=4),
            (Step("relu"), Step("mul", 0.5)),
            Conv2d(array(5, 4, 1, 1), None),
            "fused",
        ),
        [IMAGES],
        (2, 5, 9, 8),
    ),
    "linear": (Linear(array(7, 8), array(7)), [(2, 3, 8)], (2, 3, 7)),
    "linear without bias": (Linear(array(7, 8), None), [(3, 8)], (3, 7)),
    "max pool": (Pool2d("max", (3, 2), (2, 2), (1, 1, 0, 0)), [IMAGES], (2, 4, 5, 4)),
    "max pool, ceil": (Pool2d("max", (2, 3), (2, 2)), [IMAGES], (2, 4, 5, 4)),
    "max pool, dilated": (Pool2d("max", (2, 2), (1, 1), (0, 0, 0, 0), (2, 3)), [IMAGES], (2, 4, 7, 5)),
    "max pool, uneven": (Pool2d("max", (3, 3), (2, 2), (0, 1, 2, 1)), [IMAGES], (2, 4, 4, 5)),
    "max pool, uneven, ceil": (Pool2d("max", (3, 3), (2, 2), (1, 1, 0, 1)), [IMAGES], (2, 4, 5, 5)),
    "average": (Pool2d("avg", (3, 2), (2, 2), (1, 1, 0, 0)), [IMAGES], (2, 4, 5, 4)),
    "average of what is there": (
        Pool2d("avg", (3, 3), (2, 2), (1, 1, 1, 1), count_include_pad=False), [IMAGES], (2, 4, 5, 4),
    ),
    "average, ceil": (Pool2d("avg", (2, 3), (2, 2)), [IMAGES], (2, 4, 5, 4)),
    "average, divisor": (Pool2d("avg", (2, 2), (2, 2), divisor=3), [IMAGES], (2, 4, 4, 4)),
    "average, uneven": (Pool2d("avg", (3, 3), (2, 2), (0, 2, 1, 0)), [IMAGES], (2, 4, 5, 4)),
    "average, uneven, of what is there": (
        Pool2d("avg", (3, 3), (2, 2), (0, 2, 1, 0), count_include_pad=False), [IMAGES], (2, 4, 5, 4),
    ),
    "average, uneven, ceil": (Pool2d("avg", (3, 3), (2, 2), (0, 1, 1, 0)), [IMAGES], (2, 4, 5, 4)),
    "average, uneven, divisor": (
        Pool2d("avg", (3, 3), (2, 2), (0, 2, 1, 0), divisor=5), [IMAGES], (2, 4, 5, 4),
    ),
    "adaptive max": (AdaptivePool2d("max", (4, 3)), [IMAGES], (2, 4, 4, 3)),
    "adaptive average": (AdaptivePool2d("avg", (4, 3)), [IMAGES], (2, 4, 4, 3)),
    "resampled": (Resample2d(NEAREST, WEIGHTED), [IMAGES], (2, 4, 4, 3)),
    "shuffle": (PixelShuffle((2, 2)), [IMAGES], (2, 1, 18, 16)),
    "uneven shuffle, cropped": (PixelShuffle((1, 2), (0, 1)), [IMAGES], (2, 2, 9, 15)),
    "unshuffle": (PixelUnshuffle((2, 2)), [(2, 3, 8, 6)], (2, 12, 4, 3)),
    "uneven unshuffle": (PixelUnshuffle((1, 2)), [(2, 3, 8, 6)], (2, 6, 8, 3)),
    "mean": (Mean((2, 3), False), [IMAGES], (2, 4)),
    "mean kept": (Mean((1,), True), [IMAGES], (2, 1, 9, 8)),
    "log softmax": (LogSoftmax(1), [IMAGES], IMAGES),
    "softmax": (Softmax(3), [IMAGES], IMAGES),
    "softmax, masked": (Softmax(3, zero_if_masked=True), [IMAGES], IMAGES),
    "layer norm": (LayerNorm((2, 3), 1e-5), [IMAGES], IMAGES),
    "norm of channels": (LayerNorm((1,), 1e-5), [IMAGES], IMAGES),
    "rms norm": (LayerNorm((3,), 1e-5, centred=False), [IMAGES], IMAGES),
    "rms norm of channels": (LayerNorm((1,), 1e-5, centred=False), [IMAGES], IMAGES),
    "group norm": (GroupNorm(2, 1e-5), [IMAGES], IMAGES),
    "local response": (LocalResponseNorm(3, 0.1, 0.75, 2.0), [IMAGES], IMAGES),
    "matmul": (MatMul(), [(2, 1, 3, 4), (5, 4, 6)], (2, 5, 3, 6)),
    "matmul, turned": (MatMul(True, True), [(2, 4, 3), (2, 6, 4)], (2, 3, 6)),
    "concat": (Concat(1), [IMAGES, (2, 3, 9, 8)], (2, 7, 9, 8)),
    "reshape": (Reshape(), [IMAGES], (8, 72)),
    "permute": (Permute((0, 3, 1, 2)), [IMAGES], (2, 8, 4, 9)),
    "slice": (Slice(2, 1, 3), [IMAGES], (2, 4, 3, 8)),
    "slice backwards": (Slice(3, 6, -2), [IMAGES], (2, 4, 9, 4)),
    "gather": (Gather(1, (3, 0, 0)), [IMAGES], (2, 3, 9, 8)),
    "pad": (Pad(((0, 0), (1, 0), (0, 2), (3, 1)), -1.5), [IMAGES], (2, 5, 11, 12)),
    **{f"reduce {kind}": (Reduce(kind, (1, 3), False), [IMAGES], (2, 9)) for kind in (
        "sum", "max", "min", "prod", "squares", "magnitudes", "deviations", "logsumexp",
    )},
    "reduce, kept": (Reduce("prod", (1, 3), True), [IMAGES], (2, 1, 9, 1)),
    **{f"{kind}, reverse={back}, states={states}": (
        Recurrent(kind, array(gates * 5, 5), array(5) if kind == "gru" else None, back, kind == "lstm"),
        [(2, 3, gates * 8), *[(2, 5)] * (states and (2 if kind == "lstm" else 1))],
        (2, 4 if kind == "lstm" else 3, 5),
    ) for kind, gates in (("lstm", 4), ("gru", 3)) for back in (False, True) for states in (False, True)},
}  # fmt: skip


@pytest.mark.parametrize("name", CORES)
def test_every_core(name: str) -> None:
    core, sources, shape = CORES[name]
    check(graph_of(core, sources, shape))
    check(graph_of(core, sources, shape, (Step("relu"), Step("sub", 1.5, reverse=True))))


def test_the_cores_are_all() -> None:
    tested = {type(core).__name__ for core, _, _ in CORES.values()}
    others = {"Extern", "Result", "LoweredCore"}
    assert tested | others == {each.__name__ for each in Core.__args__} | others


PARAMETERS = {
    "leaky_relu": (0.2,), "clamp": (-0.5, 0.7), "pow": (2.0,), "elu": (0.7, 1.2, 0.9),
    "softplus": (2.0, 20.0), "hardshrink": (0.4,), "softshrink": (0.3,), "threshold": (0.1, -2.0),
    "piecewise": (0.3, -0.2, -0.7, 0.9, 0.1, -0.4, 1.3, 0.6),
}  # fmt: skip


@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("core", [Identity(), Conv2d(array(4, 4, 1, 1), None)], ids=["view", "new"])
def test_every_unary_step(op: str, core: Core) -> None:
    check(graph_of(core, [IMAGES], IMAGES, (Step(op, parameters=PARAMETERS.get(op, ())), Step("mul", 0.5))))


@pytest.mark.parametrize("op", [*BINARY, "prelu"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("core", [Identity(), Conv2d(array(4, 4, 1, 1), None)], ids=["view", "new"])
def test_steps_of_two(op: str, reverse: bool, core: Core) -> None:
    if op == "prelu" and reverse:
        reverse = False  # its sides cannot be swapped
    inputs, constants = {"x": IMAGES, "y": IMAGES}, {"c": array(4, 1, 1)}
    for operand in ("x", "y", "c", 0.75):
        layer = Layer("layer", core, ("x",), IMAGES, (Step(op, operand, reverse),))
        check(LayerGraph(inputs, [layer], ("layer",), constants))


def test_select() -> None:
    mask = (array(9, 8) > 0).astype(np.float32)
    layer = Layer("layer", Identity(), ("x",), IMAGES, (Step("select", "mask", parameters=(-torch.inf,)),))
    check(LayerGraph({"x": IMAGES}, [layer], ("layer",), {"mask": mask}))


@pytest.mark.parametrize(
    "core", [LayerNorm((3,), 1e-5), LayerNorm((3,), 1e-5, centred=False), GroupNorm(2, 1e-5)]
)
@pytest.mark.parametrize("shape", [(8,), (4, 1, 1), (9, 8)])
def test_weights_of_norms(core: Core, shape: Shape) -> None:
    constants = {"scale": array(*shape), "shift": array(*shape, seed=1)}
    for steps in ((Step("mul", "scale"), Step("add", "shift"), Step("relu")), (Step("add", "shift"),)):
        layer = Layer("layer", core, ("x",), IMAGES, steps)
        check(LayerGraph({"x": IMAGES}, [layer], ("layer",), constants))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bias", [True, False])
def test_networks_are_torchs_own(kind: type[nn.RNNBase], bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = kind(6, 10, num_layers=2, bidirectional=True, bias=bias).eval()
    inputs = (images(5, 3, 6), images(4, 3, 10, seed=1))
    given = (inputs[0], (inputs[1], images(4, 3, 10, seed=2))) if kind is nn.LSTM else inputs
    graph = from_torch(network, given)
    monkeypatch.setattr("sparsegen.torch_graph.recurrent.recurrence", None)
    made = TorchGraph(graph)
    with torch.no_grad():
        expected = network(*given)
    for result, wanted in zip(_pytree.tree_leaves(made(*given)), _pytree.tree_leaves(expected), strict=True):
        torch.testing.assert_close(result, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:torch itself computes")
@examples(8, soak=2000)
@given(st.integers(0, 1 << 32))
def test_random_networks(seed: int) -> None:
    network = RandomNetwork(seed)
    note(f"network {seed}: {network.describe()}")
    graph = from_torch(network, network.inputs)
    results = _pytree.tree_leaves(TorchGraph(graph)(*network.inputs))
    with torch.no_grad():
        exact = _pytree.tree_leaves(network.double()(network.inputs[0].double()))
    for result, expected in zip(results, exact, strict=True):
        assert result.shape == expected.shape
        assert (result.double() - expected).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_w7d20", "densenet121", "inceptionv3"])
def test_networks_of_the_zoo(name: str) -> None:
    network, inputs = small(name)
    with torch.no_grad():
        expected = network(*inputs)
    result = TorchGraph(from_torch(network, inputs))(*inputs)
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_modes_of_interpolation_are_torchs() -> None:
    for mode in ("nearest", "bilinear", "bicubic"):
        network = Function(lambda x, mode=mode: nn.functional.interpolate(x, (13, 6), mode=mode))
        torch.testing.assert_close(
            TorchGraph(from_torch(network, (images(),)))(images()), network(images()), rtol=1e-5, atol=1e-5
        )


class Mixed(nn.Module):
    """Called by name too, with results in a dict, of other types, known ones and an input among them."""

    def forward(self, x: Tensor, scale: Tensor | None = None) -> dict[str, Tensor | None]:
        values, places = (x if scale is None else x * scale).relu().topk(2)
        return {"values": values * 2, "places": places, "x": x, "known": torch.arange(3), "none": None}


@pytest.mark.filterwarnings("ignore:torch itself computes")
def test_structures_and_types() -> None:
    x, scale = images(3, 5), images(3, 5, seed=1)
    graph = from_torch(Mixed().eval(), (x,), {"scale": scale})
    result, expected = TorchGraph(graph)(x, scale=scale), Mixed()(x, scale)
    assert result.keys() == expected.keys()
    for name, wanted in expected.items():
        assert (result[name] is None) if wanted is None else torch.equal(result[name], wanted)
    assert result["x"].data_ptr() != x.data_ptr()


@pytest.mark.filterwarnings("ignore:torch itself computes")
@examples(5, soak=500)
@given(st.integers(0, 1 << 32))
def test_everything_lies_on_the_device(seed: int) -> None:
    """On torch's "meta" device, operators refuse tensors of any other."""
    network = RandomNetwork(seed)
    note(f"network {seed}: {network.describe()}")
    graph = from_torch(network, network.inputs)
    results = _pytree.tree_leaves(TorchGraph(graph, "meta")(*(x.to("meta") for x in network.inputs)))
    for result, expected in zip(results, _pytree.tree_leaves(network(*network.inputs)), strict=True):
        assert result.device.type == "meta"
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    network, inputs = small("resnet18")
    result = TorchGraph(from_torch(network, inputs), "cuda")(*(x.cuda() for x in inputs))
    with torch.no_grad():
        expected = network(*inputs)
    torch.testing.assert_close(result.cpu(), expected, rtol=1e-2, atol=1e-2 * float(expected.abs().max()))


def test_values_are_freed_after_their_last_reader() -> None:
    network = nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(4))).eval()
    made = TorchGraph(from_torch(network, (images(),)))
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def watched(core: object) -> object:
        def run(*inputs: Tensor) -> Tensor:
            nonlocal most
            value = core(*inputs)  # type: ignore[operator]
            alive.append(weakref.ref(value))
            most = max(most, sum(each() is not None for each in alive))
            return value

        return run

    made._calls = [replace(call, core=watched(call.core)) for call in made._calls]  # type: ignore[arg-type]
    made(images())
    assert len(alive) == 4
    assert most == 2


def test_other_inputs_are_refused() -> None:
    made = TorchGraph(from_torch(nn.Linear(5, 2).eval(), (images(3, 5),)))
    for given_inputs, message in (
        ((), "1 inputs are needed, 0 were given"),
        ((images(3, 4),), "of shape"),
        ((images(3, 5).double(),), "float64"),
        ((images(3, 5).to("meta"),), "is on meta"),
        ((3.0,), "give a torch.Tensor"),
    ):
        with pytest.raises(InputError, match=message):
            made(*given_inputs)


@pytest.mark.filterwarnings("ignore:torch itself computes")
def test_values_that_torch_refuses() -> None:
    embedding = nn.Embedding(4, 3).eval()
    made = TorchGraph(from_torch(embedding, (torch.tensor([1, 2]),)))
    with pytest.raises(InputError, match="cannot compute layer"):
        made(torch.tensor([1, 7]))


def test_no_autocast_and_no_gradients() -> None:
    network = nn.Linear(64, 64).eval()
    made, x = TorchGraph(from_torch(network, (images(3, 64),))), images(3, 64).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = made(x)
    assert result.dtype == torch.float32
    assert not result.requires_grad
    torch.testing.assert_close(result, network(x).detach())
