"""Which pointwise layers end up in whose epilogue, and that the result stays right."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.frontend.checking import Function, check, describe, images


class Residual(nn.Module):
    """`relu(bn(conv(x)) + shortcut(x))`, as torchvision (main path first) or pytorchcv orders it."""

    def __init__(self, *, shortcut_first: bool, projected: bool) -> None:
        super().__init__()
        self.shortcut_first = shortcut_first
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.shortcut = nn.Conv2d(4, 4, 1) if projected else nn.Identity()
        self.eval()

    def forward(self, value: Tensor) -> Tensor:
        if self.shortcut_first:
            shortcut = self.shortcut(value)
            return F.relu(self.body(value) + shortcut)
        return F.relu(self.body(value) + self.shortcut(value))


def test_identity_shortcut_is_added_in_the_convolution() -> None:
    (layer,) = check(Residual(shortcut_first=True, projected=False), images()).layers
    assert [(step.op, step.operand) for step in layer.epilogue] == [("add", "value"), ("relu", None)]
    assert layer.name == "body"


def test_sum_goes_to_the_side_computed_last() -> None:
    for shortcut_first, first, last in ((True, "shortcut", "body"), (False, "body", "shortcut")):
        graph = check(Residual(shortcut_first=shortcut_first, projected=True), images())
        assert [layer.name for layer in graph.layers] == [first, last]
        assert describe(graph) == ["Conv2d", "Conv2d add relu"]
        assert graph.layers[1].epilogue[0].operand == first


def test_difference_fused_into_its_second_side_is_reversed() -> None:
    weight = images(4, 4, 1, 1)
    graph = check(Function(lambda x, w: x.relu() - F.conv2d(x, w), weight), images())
    assert describe(graph) == ["Identity relu", "Conv2d sub"]
    assert graph.layers[1].epilogue[0].reverse


def test_reversed_difference_fused_into_its_number_side() -> None:
    weight = images(4, 4, 1, 1)
    graph = check(Function(lambda x, w: torch.rsub(F.conv2d(x, w), x), weight), images())
    assert describe(graph) == ["Conv2d sub"]


def test_chain_goes_to_its_end() -> None:
    weight = images(4, 4, 1, 1)
    graph = check(Function(lambda x, w: (F.conv2d(x, w).relu() + x).tanh() * x, weight), images())
    assert describe(graph) == ["Conv2d relu add tanh mul"]


def test_value_with_two_readers_is_kept() -> None:
    weight = images(4, 4, 1, 1)

    def diamond(value: Tensor, weight: Tensor) -> Tensor:
        middle = F.conv2d(value, weight)
        return middle * middle.tanh()

    assert describe(check(Function(diamond, weight), images())) == ["Conv2d", "Identity tanh mul"]


def test_fused_value_with_two_readers_is_kept() -> None:
    weight = images(4, 4, 1, 1)

    def two_readers(value: Tensor, weight: Tensor) -> Tensor:
        middle = F.conv2d(value, weight).relu()
        return middle.tanh() + middle.exp()

    graph = check(Function(two_readers, weight), images())
    assert describe(graph) == ["Conv2d relu", "Identity tanh", "Identity exp add"]


def test_activation_written_out_reaches_the_convolution() -> None:
    weight = images(4, 4, 1, 1)

    def swish(value: Tensor, weight: Tensor) -> Tensor:
        middle = F.conv2d(value, weight)
        return middle * torch.sigmoid(middle)

    def hard_swish(value: Tensor, weight: Tensor) -> Tensor:
        middle = F.conv2d(value, weight)
        return middle * F.relu6(middle + 3.0) / 6.0

    assert describe(check(Function(swish, weight), images())) == ["Conv2d silu"]
    assert describe(check(Function(hard_swish, weight), images())) == ["Conv2d hardswish"]


def test_gate_by_another_value_is_no_activation() -> None:
    graph = check(Function(lambda x: x.relu() * torch.sigmoid(x)), images())
    assert not any(step.op == "silu" for layer in graph.layers for step in layer.epilogue)


def test_output_is_not_fused_away() -> None:
    weight = images(4, 4, 1, 1)

    def both(value: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        middle = F.conv2d(value, weight)
        return middle, middle.relu()

    assert describe(check(Function(both, weight), images())) == ["Conv2d", "Identity relu"]


def test_step_that_grows_the_shape_is_not_fused() -> None:
    graph = check(Function(lambda x: x.mean((2, 3), keepdim=True) + x), images())
    assert describe(graph) == ["Mean", "Identity add"]


def test_cores_that_take_no_epilogue() -> None:
    cores = (
        lambda x: x.softmax(1),
        lambda x: torch.cat([x, x], 1),
        lambda x: x.flatten(1),
        lambda x: x.transpose(1, 2),
        lambda x: x[:, 1:],
        lambda x: F.pad(x, (1, 1)),
    )
    graph = check(Function(lambda x: [core(x).relu() for core in cores]), images())
    assert sorted(describe(graph)) == sorted(
        [f"{core}" for core in ("Softmax", "Concat", "Reshape", "Permute", "Slice", "Pad")]
        + ["Identity relu"] * len(cores)
    )


def test_cores_that_take_an_epilogue() -> None:
    cores = (
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.adaptive_avg_pool2d(x, 2),
        lambda x: x.mean(1),
    )
    graph = check(Function(lambda x: [core(x).relu() for core in cores]), images())
    assert describe(graph) == ["Pool2d relu", "Pool2d relu", "AdaptivePool2d relu", "Mean relu"]


def test_operands_are_computed_before_the_fused_layer() -> None:
    """The residual is computed after the convolution that takes it in, and before the sum."""
    weight = images(4, 4, 1, 1)

    def late_operand(value: Tensor, weight: Tensor) -> Tensor:
        middle = F.conv2d(value, weight)
        return middle.relu() + value.softmax(1)

    graph = check(Function(late_operand, weight), images())
    assert describe(graph) == ["Softmax", "Conv2d relu add"]
