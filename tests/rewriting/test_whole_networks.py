"""The networks of `bench.rewriting` are what they say, and its checks find what errs."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from bench.detectors import CLASSES, CspDarknet, Detector
from bench.rewriting_checks import check_sites, double_error
from bench.rewriting_networks import DIGIT_NETWORKS, PIXELS
from sparsegen.frontend import from_torch
from sparsegen.hetero.rewriting.run import host_and_device, price_on
from sparsegen.rewriting.calibration import intervals_on
from sparsegen.rewriting.rewrite import Rewriter, rewrite


def millions(network: nn.Module) -> float:
    return sum(each.numel() for each in network.parameters()) / 1e6


def test_the_detector_has_the_size_and_boxes_of_yolov5s() -> None:
    detector = Detector(size=64).eval()
    assert millions(detector) == pytest.approx(7.2, abs=0.05)
    with torch.no_grad():
        boxes = detector(torch.randn(2, 3, 64, 64))
    assert boxes.shape == (2, 3 * (8 * 8 + 4 * 4 + 2 * 2), 5 + CLASSES)
    assert boxes[..., 4:].min() >= 0
    assert boxes[..., 4:].max() <= 1


def test_the_classifier_has_the_size_of_cspdarknet() -> None:
    assert millions(CspDarknet()) == pytest.approx(27.6, abs=0.1)


@pytest.mark.parametrize("name", DIGIT_NETWORKS)
def test_small_networks_read_digits(name: str) -> None:
    make, _ = DIGIT_NETWORKS[name]
    with torch.no_grad():
        assert make().eval()(torch.randn(3, 1, PIXELS, PIXELS)).shape == (3, 10)


class Exponential(nn.Module):
    """A function whose approximation holds on an interval alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


def test_an_error_within_its_bound_passes_and_one_beyond_it_is_found() -> None:
    seen, beyond = torch.linspace(-1, 1, 32)[None], torch.full((1, 32), 3.0)
    network = Exponential().eval()
    graph = from_torch(network, (seen,))
    intervals = intervals_on(graph, [(seen,)])
    rewriter = Rewriter(price_on(host_and_device("arm-a72x4", "relu-conv").devices[-1]))
    found = rewrite(graph, rewriter, max_error=1e-3, intervals=intervals)
    inside = check_sites(graph, rewriter, found, 1e-3, intervals, (seen,))
    assert (inside.checked, inside.wrong) == (1, ())
    assert inside.bound is not None
    assert 0 < inside.error <= inside.bound <= 1e-3
    assert double_error(copy.deepcopy(network), found.graph, (seen,)) == pytest.approx(inside.error)
    outside = check_sites(graph, rewriter, found, 1e-3, intervals, (beyond,))
    assert outside.wrong == ("exp",)
    assert double_error(copy.deepcopy(network), found.graph, (beyond,)) > 1
