"""The dense rivals compute what they should, and one that cannot says why."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sparsegen.compare import peers
from sparsegen.graph import Conv2d
from sparsegen.reference import convolution_reference


def convolution(**options: object) -> Conv2d:
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((6, 4, 3, 3), dtype=np.float32)
    return Conv2d(weight, generator.standard_normal(6, dtype=np.float32), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 1, 2, 2), (0, 1, 2, 0)])
def test_convolution_peers_agree_with_float64(padding: tuple[int, int, int, int]) -> None:
    conv = convolution(padding=padding, stride=(2, 1), dilation=(1, 2))
    x = torch.randn(2, 4, 9, 11)
    reference = convolution_reference(conv, x)
    height = (9 + padding[0] + padding[1] - 3) // 2 + 1
    width = 11 + padding[2] + padding[3] - 4
    assert reference.shape == (2, 6, height, width)
    for call in peers.convolution_peers(conv, x).values():
        result = call()
        assert isinstance(result, torch.Tensor)
        torch.testing.assert_close(result.double(), reference, rtol=1e-4, atol=1e-4)


def test_eager_peers_leave_the_model_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    x = torch.randn(2, 3, 8, 8)
    calls, absent = peers.network_peers(model, (x,))
    assert (set(calls), absent) == ({peers.NCHW, peers.NHWC, peers.COMPILED}, {})
    torch.testing.assert_close(calls[peers.NCHW](), calls[peers.NHWC]())
    assert model[0].weight.is_contiguous()
    assert model[0].weight.dtype == peers.network_reference(model, (x,)).float().dtype


class Views(nn.Module):
    """Flattens as VGG does, by a view across channels and pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).view(len(x), -1)


def test_a_model_that_channels_last_breaks_has_one_peer_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    with torch.no_grad():
        calls, absent = peers.network_peers(Views().eval(), (torch.randn(2, 3, 8, 8),))
    assert set(calls) == {peers.NCHW, peers.COMPILED}
    assert absent[peers.NHWC].startswith("RuntimeError: view size is not compatible")


def test_torch_compile_takes_part_however_many_models_there_were() -> None:
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad(), torch._dynamo.config.patch(recompile_limit=1):
        for _ in range(2):
            torch.manual_seed(0)  # torch keeps the C++ code that it builds, in 10 s, of weights too
            model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
            call = peers.compiled_peer(model, (x,))
            assert not isinstance(call, str), call
            torch.testing.assert_close(call(), model(x))


def test_a_compiler_that_fails_is_an_absent_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no working C++ compiler\nsecond line")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fail)
    assert peers.compiled_peer(nn.ReLU(), (torch.randn(1),)) == "RuntimeError: no working C++ compiler"
